//! Dates as people read them, without a clock or a time zone.
use crate::UnixTime;

const SECONDS_OF_DAY: i64 = 86_400;
/// Days of 400 years of the Gregorian calendar.
const DAYS_OF_ERA: i64 = 146_097;

/// `2026-11-21 04:50:35 UTC`.
pub(crate) fn text(time: UnixTime) -> String {
    let (days, seconds) = (time.div_euclid(SECONDS_OF_DAY), time.rem_euclid(SECONDS_OF_DAY));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Year, month and day of a count of days since 1970-01-01. The years run from March to February, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_709_208_000, "2024-02-29 12:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ];
        for (time, want) in cases {
            assert_eq!(text(time), want);
        }
    }

    #[test]
    fn days_follow_each_other() {
        let mut previous = civil(-1);
        for days in 0..60_000 {
            let today = civil(days);
            let next_day = today == (previous.0, previous.1, previous.2 + 1);
            let next_month = today == (previous.0, previous.1 + 1, 1) && previous.2 >= 28;
            let next_year = today == (previous.0 + 1, 1, 1) && (previous.1, previous.2) == (12, 31);
            assert!(next_day || next_month || next_year, "{previous:?} {today:?}");
            previous = today;
        }
    }
}
