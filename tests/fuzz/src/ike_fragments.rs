//! The reassembler of fragments against a model of it, over a whole script of fragments.
use ike::wire::{Fragment, FragmentError, Payloads, Reassembly};
use std::collections::BTreeMap;

/// More fragments than one message may have, and some.
const MAX_STEPS: usize = 400;

/// Every step is an operation, a number, a total and a length; content is taken from what follows, or made up where it is to be long.
pub fn ike_fragments(data: &[u8]) {
    let mut real = Reassembly::default();
    let mut model = Model::default();
    let mut rest = data;
    for _ in 0..MAX_STEPS {
        let Some((&[op, number, total, len], tail)) = rest.split_first_chunk::<4>() else { return };
        let wide = |byte: u8| if op & 1 == 0 { u16::from(byte) } else { u16::from(byte) << 8 };
        let (content, tail) = if op & 2 == 0 {
            let (content, tail) = tail.split_at(usize::from(len).min(tail.len()));
            (content.to_vec(), tail)
        } else {
            (vec![op; usize::from(len) * 16], tail)
        };
        rest = tail;
        let fragment = Fragment { number: wide(number), total: wide(total), first: op >> 2, data: content };
        let want = model.insert(&fragment);
        assert_eq!(real.insert(fragment), want);
        assert!(model.bytes() <= Reassembly::MAX_BYTES && model.parts.len() <= usize::from(Reassembly::MAX_FRAGMENTS));
    }
}

/// What RFC 7383 section 2.6 asks for, with our limits.
#[derive(Default)]
struct Model {
    total: u16,
    parts: BTreeMap<u16, Fragment>,
}

impl Model {
    fn bytes(&self) -> usize {
        self.parts.values().map(|part| part.data.len()).sum()
    }

    fn insert(&mut self, fragment: &Fragment) -> Result<Option<Payloads>, FragmentError> {
        let Fragment { number, total, .. } = *fragment;
        if number == 0 || number > total || total < self.total {
            return Err(FragmentError::Unfit { number, total });
        }
        if total > self.total {
            *self = Self { total, parts: BTreeMap::new() };
        }
        if self.parts.contains_key(&number) {
            return Ok(None);
        }
        if total > Reassembly::MAX_FRAGMENTS || self.bytes() + fragment.data.len() > Reassembly::MAX_BYTES {
            *self = Self::default();
            return Err(FragmentError::TooLarge);
        }
        self.parts.insert(number, fragment.clone());
        if !(1..=total).all(|number| self.parts.contains_key(&number)) {
            return Ok(None);
        }
        let whole = std::mem::take(self);
        let content: Vec<u8> = whole.parts.values().flat_map(|part| part.data.iter().copied()).collect();
        Payloads::parse(whole.parts[&1].first, &content).map(Some).map_err(FragmentError::Authentic)
    }
}
