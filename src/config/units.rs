//! Durations and sizes as text.

use std::time::Duration;

/// Days have 24 hours. Weeks, months and years are left out: nobody knows how long they are.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

pub(super) const DURATION: &str = "a whole number with `ms`, `s`, `m` (minutes), `h` or `d` behind it, in quotes: \"250ms\", \"90s\", \"1h30m\", \"90d\"";
pub(super) const SIZE: &str = "a number of bytes, or text with `KiB`, `MiB` or `GiB`: 65536, \"64KiB\"";

/// Such as `250ms`, or `1h30m` from the largest unit to the smallest, each once.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut millis, mut smallest) = (text, 0_u64, u64::MAX);
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let length = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(length);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if *unit >= smallest {
            return None;
        }
        millis = millis.checked_add(number.checked_mul(*unit)?)?;
        (rest, smallest) = (after, *unit);
    }
    Some(Duration::from_millis(millis))
}

/// Such as `64KiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number(text)?;
    let (_, unit) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*unit)
}

/// What a text begins with, of digits alone: `parse` takes a sign too.
fn number(text: &str) -> Option<(u64, &str)> {
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(length);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("90s", 90_000),
            ("5m", 300_000),
            ("12h", 43_200_000),
            ("90d", 7_776_000_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "m",
            "5 m",
            " 5m",
            "5m ",
            "5M",
            "5min",
            "5mo",
            "1w",
            "1y",
            "1.5h",
            "-5m",
            "+5m",
            "30m1h",
            "5m5m",
            "1s1s",
            "99999999999999999999s",
            "999999999999999d",
            "5m30",
            "５m",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [("1B", 1), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "64",
            "KiB",
            "64 KiB",
            "64kib",
            "64KB",
            "64K",
            "64MB",
            "1.5MiB",
            "-1B",
            "99999999999999999999B",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
