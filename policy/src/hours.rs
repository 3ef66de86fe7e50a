//! Hours of the week.
use std::fmt;

/// Wall-clock time where the gateway stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// 0 = Monday .. 6 = Sunday.
    pub weekday: u8,
    /// 0..=1439.
    pub minute: u16,
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02}:{:02}", day_name(self.weekday), self.minute / 60, self.minute % 60)
    }
}

/// Days and minutes; `from > to` runs over midnight (the day is that of `from`). `from` belongs to it, `to` (up to 1440) no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// Bit 0 = Monday.
    pub days: u8,
    pub from: u16,
    pub to: u16,
}

impl TimeWindow {
    pub fn contains(&self, time: LocalTime) -> bool {
        let on = |weekday: u8| weekday < 7 && self.days & (1 << weekday) != 0;
        if self.from <= self.to {
            return on(time.weekday) && (self.from..self.to).contains(&time.minute);
        }
        let yesterday = (time.weekday + 6) % 7;
        (on(time.weekday) && time.minute >= self.from) || (on(yesterday) && time.minute < self.to)
    }
}

/// `mon,tue,fri 08:00-18:00`
impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, day) in (0..7).filter(|day| self.days & (1 << day) != 0).enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            f.write_str(day_name(day))?;
        }
        let (from, to) = (self.from, self.to);
        write!(f, " {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

fn day_name(weekday: u8) -> &'static str {
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].get(usize::from(weekday)).copied().unwrap_or("?")
}

const MINUTES_OF_DAY: u32 = 1_440;
const MINUTES_OF_WEEK: u32 = 7 * MINUTES_OF_DAY;

/// How many whole minutes after the beginning of the minute `time` the first one comes that lies in none of the windows; 0 where that is `time`
/// itself. `None`: they fill the week.
pub(crate) fn open_for(windows: &[TimeWindow], time: LocalTime) -> Option<u32> {
    let mut open = 0;
    // Each step passes a minute at least, so there are fewer than minutes in a week.
    while open < MINUTES_OF_WEEK {
        let at = time.later(open);
        let Some(left) = windows.iter().filter_map(|window| window.left(at)).max() else { return Some(open) };
        open += left;
    }
    None
}

impl LocalTime {
    fn later(self, minutes: u32) -> Self {
        let of_week = u32::from(self.weekday) * MINUTES_OF_DAY + u32::from(self.minute) + minutes;
        // Both remainders fit: below 7 and below 1440.
        Self { weekday: (of_week / MINUTES_OF_DAY % 7) as u8, minute: (of_week % MINUTES_OF_DAY) as u16 }
    }
}

impl TimeWindow {
    /// Minutes until its end; `None`: `time` is outside.
    fn left(&self, time: LocalTime) -> Option<u32> {
        if !self.contains(time) {
            return None;
        }
        let (to, minute) = (u32::from(self.to), u32::from(time.minute));
        Some(if to > minute { to - minute } else { MINUTES_OF_DAY - minute + to })
    }
}
