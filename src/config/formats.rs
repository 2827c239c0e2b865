//! `[[formats]]`: the formats of keys.

use super::error::Fault;
use super::setting::Setting;
use super::value::{Section, Value};
use crate::key::{Alphabet, Checksum, KeyFormat, KeyFormats};

/// A format of another system. `None` for the one that has a prefix of its own.
type Preset = Option<fn() -> KeyFormat>;

const PRESETS: [(&str, Preset); 9] = [
    ("hk", Some(KeyFormat::hk)),
    ("pk", Some(KeyFormat::pk)),
    ("cmpz", Some(KeyFormat::cmpz)),
    ("gml", Some(KeyFormat::gml)),
    ("bare_hex", Some(KeyFormat::bare_hex)),
    ("django_rest_framework", Some(KeyFormat::django_rest_framework)),
    ("sanctum", Some(KeyFormat::sanctum)),
    ("raw", Some(KeyFormat::raw)),
    ("seam", None),
];
/// The checksums that a file can ask for: that with secrets of its own needs code.
const CHECKSUMS: [(&str, FileChecksum); 3] = [
    ("realm", FileChecksum::Realm),
    ("crc32", FileChecksum::Crc32),
    ("none", FileChecksum::None),
];
const ALPHABETS: [(&str, Alphabet); 3] = [
    ("base62", Alphabet::Base62),
    ("base64url", Alphabet::Base64Url),
    ("hex", Alphabet::Hex),
];

#[derive(Clone, Copy)]
enum FileChecksum {
    Realm,
    Crc32,
    None,
}

/// The parts of a format that a file can set.
struct Parts {
    prefix: Option<Setting<String>>,
    environments: Option<Setting<Vec<String>>>,
    separator: Option<Setting<char>>,
    alphabet: Option<Setting<Alphabet>>,
    body_length: Option<Setting<usize>>,
    lookup_length: Option<Setting<usize>>,
    checksum: Option<Setting<FileChecksum>>,
    hashed_lookup: Option<Setting<bool>>,
    timestamp: Option<Setting<bool>>,
}

/// The formats of the file; `None` if it has none.
pub(super) fn read(mut sections: Vec<Section<'_, '_>>) -> Result<Option<KeyFormats>, Fault> {
    let formats: Vec<KeyFormat> = sections.iter_mut().map(format).collect::<Result<_, _>>()?;
    let Some(last) = sections.last() else { return Ok(None) };
    KeyFormats::new(formats).map(Some).map_err(|error| last.refused(error))
}

fn format(section: &mut Section<'_, '_>) -> Result<KeyFormat, Fault> {
    let preset = section.setting("preset", |value| value.choice(&PRESETS))?;
    let parts = Parts::read(section)?;
    section.end()?;
    let Some(preset) = preset else {
        return parts.format(section);
    };
    parts.refuse_beside_preset(preset.value.is_none())?;
    match (preset.value, parts.prefix) {
        (Some(format), _) => Ok(format()),
        (None, Some(prefix)) => KeyFormat::seam(&prefix.value).map_err(|error| prefix.refused(error)),
        (None, None) => Err(preset.fault("needs a `prefix` beside it")),
    }
}

impl Parts {
    fn read(section: &mut Section<'_, '_>) -> Result<Self, Fault> {
        let length = |value: &Value<'_, '_>| value.number(0..=256);
        Ok(Self {
            prefix: section.setting("prefix", |value| Ok(value.text()?.to_owned()))?,
            environments: section.setting("environments", |value| {
                let names = value.list()?;
                names.iter().map(|name| Ok(name.text()?.to_owned())).collect()
            })?,
            separator: section.setting("separator", |value| {
                let mut characters = value.text()?.chars();
                match (characters.next(), characters.next()) {
                    (Some(separator), None) => Ok(separator),
                    _ => Err(value.fault("must be one character")),
                }
            })?,
            alphabet: section.setting("alphabet", |value| value.choice(&ALPHABETS))?,
            body_length: section.setting("body_length", length)?,
            lookup_length: section.setting("lookup_length", length)?,
            checksum: section.setting("checksum", |value| value.choice(&CHECKSUMS))?,
            hashed_lookup: section.setting("hashed_lookup", Value::is_true)?,
            timestamp: section.setting("timestamp", Value::is_true)?,
        })
    }

    fn refuse_beside_preset(&self, takes_prefix: bool) -> Result<(), Fault> {
        let Self {
            prefix,
            environments,
            separator,
            alphabet,
            body_length,
            lookup_length,
            checksum,
            hashed_lookup,
            timestamp,
        } = self;
        let others = [
            prefix.as_ref().filter(|_| !takes_prefix).map(Setting::without_value),
            environments.as_ref().map(Setting::without_value),
            separator.as_ref().map(Setting::without_value),
            alphabet.as_ref().map(Setting::without_value),
            body_length.as_ref().map(Setting::without_value),
            lookup_length.as_ref().map(Setting::without_value),
            checksum.as_ref().map(Setting::without_value),
            hashed_lookup.as_ref().map(Setting::without_value),
            timestamp.as_ref().map(Setting::without_value),
        ];
        match others.into_iter().flatten().next() {
            Some(other) => Err(other.fault("must not be beside `preset`, which sets all parts of the format")),
            None => Ok(()),
        }
    }

    fn format(self, section: &Section<'_, '_>) -> Result<KeyFormat, Fault> {
        let Self {
            prefix,
            environments,
            separator,
            alphabet,
            body_length,
            lookup_length,
            checksum,
            hashed_lookup,
            timestamp,
        } = self;
        let prefix = prefix.ok_or_else(|| section.fault("needs a `prefix`, or a `preset`"))?;
        let mut builder = KeyFormat::builder(&prefix.value);
        if let Some(setting) = &environments {
            builder = builder.environments(setting.value.iter().cloned());
        }
        if let Some(setting) = &separator {
            builder = builder.separator(setting.value);
        }
        if let Some(setting) = &alphabet {
            builder = builder.alphabet(setting.value);
        }
        if let Some(setting) = &body_length {
            builder = builder.body_length(setting.value);
        }
        if let Some(setting) = &lookup_length {
            builder = builder.lookup_length(setting.value);
        }
        if let Some(setting) = &checksum {
            builder = builder.checksum(match setting.value {
                FileChecksum::Realm => Checksum::Realm,
                FileChecksum::Crc32 => Checksum::Crc32,
                FileChecksum::None => Checksum::None,
            });
        }
        if hashed_lookup.is_some_and(|setting| setting.value) {
            builder = builder.hashed_lookup();
        }
        if timestamp.is_some_and(|setting| setting.value) {
            builder = builder.timestamp();
        }
        builder.build().map_err(|error| {
            let places = [
                ("prefix", Some(prefix.without_value())),
                ("environments", environments.as_ref().map(Setting::without_value)),
                ("separator", separator.as_ref().map(Setting::without_value)),
                ("body length", body_length.as_ref().map(Setting::without_value)),
                ("lookup length", lookup_length.as_ref().map(Setting::without_value)),
            ];
            let place = places.into_iter().find(|(setting, _)| *setting == error.setting());
            match place {
                Some((_, Some(setting))) => setting.refused(error),
                _ => section.refused(error),
            }
        })
    }
}
