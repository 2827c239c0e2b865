//! The texts that a format accepts, to find out whether two formats share one.

use super::alphabet::Alphabet;
use super::layout::{Body, LONGEST_NUMBER, LONGEST_TIME, Layout};
use super::layout::{NUMBERED_SECRET, NUMBERED_SEPARATOR};

/// The ASCII characters that can stand at one place, a bit for each.
type Characters = u128;

/// All forms of a key of one format, each as the characters that can stand at every place. Checksums count as any base62
/// characters: two formats whose keys differ by checksum alone would share one text in 2^32.
pub(super) struct Patterns(Vec<Vec<Characters>>);

impl Patterns {
    /// Whether some text has a form of both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|one| {
            other
                .0
                .iter()
                .any(|two| one.len() == two.len() && one.iter().zip(two).all(|(a, b)| a & b != 0))
        })
    }
}

/// None for a raw format, which accepts what the others do not.
pub(super) fn patterns(layout: &Layout) -> Patterns {
    let mut all = Vec::new();
    for head in &layout.heads {
        for time in times(layout.timestamp) {
            for body in bodies(layout) {
                let mut places: Vec<Characters> = head.text.bytes().map(only).collect();
                places.extend(&time);
                places.extend(body);
                all.push(places);
            }
        }
    }
    Patterns(all)
}

fn times(timestamp: bool) -> Vec<Vec<Characters>> {
    if !timestamp {
        return vec![Vec::new()];
    }
    (1..=LONGEST_TIME)
        .map(|digits| [vec![digit(); digits], vec![only(b'_')]].concat())
        .collect()
}

fn bodies(layout: &Layout) -> Vec<Vec<Characters>> {
    match &layout.body {
        Body::Fixed(body) => {
            let characters = any_of(body.alphabet.characters());
            let places = |checksum: &usize| {
                [
                    vec![characters; body.lookup],
                    body.separator.map(only).into_iter().collect(),
                    vec![characters; body.secret],
                    vec![any_of(Alphabet::Base62.characters()); *checksum],
                ]
                .concat()
            };
            layout.checksum.lengths().iter().map(places).collect()
        }
        Body::Numbered => (1..=LONGEST_NUMBER)
            .flat_map(|digits| NUMBERED_SECRET.map(move |secret| (digits, secret)))
            .map(|(digits, secret)| {
                let secret = vec![any_of(Alphabet::Base62.characters()); secret];
                [vec![digit(); digits], vec![only(NUMBERED_SEPARATOR)], secret].concat()
            })
            .collect(),
        Body::Any => Vec::new(),
    }
}

fn digit() -> Characters {
    any_of(b"0123456789")
}

fn only(byte: u8) -> Characters {
    any_of(&[byte])
}

fn any_of(bytes: &[u8]) -> Characters {
    bytes.iter().fold(0, |set, byte| set | 1 << (byte & 0x7f))
}
