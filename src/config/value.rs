//! Sections and values of a text, which know their names and places.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigFileErrorKind, Fault, Place, problem};
use super::setting::Setting;
use super::units;
use crate::error::{ConfigError, quoted};

/// The text, and the folder that relative paths begin at.
#[derive(Clone, Copy)]
pub(super) struct Origin<'t> {
    pub(super) text: &'t str,
    pub(super) folder: Option<&'t Path>,
}

/// A table of the text, or none, whose keys are those that are asked for.
pub(super) struct Section<'v, 't> {
    origin: Origin<'t>,
    /// As in `hash.pool`.
    name: String,
    place: Place,
    table: Option<&'v DeTable<'t>>,
    asked: Vec<&'static str>,
}

/// A value of the text.
pub(super) struct Value<'v, 't> {
    origin: Origin<'t>,
    /// As in `hash.pool.workers`.
    name: String,
    place: Place,
    value: &'v DeValue<'t>,
}

impl<'v, 't> Section<'v, 't> {
    pub(super) fn root(origin: Origin<'t>, table: &'v DeTable<'t>) -> Self {
        Self {
            origin,
            name: String::new(),
            place: Place::of("", 0),
            table: Some(table),
            asked: Vec::new(),
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// A key that may be left out.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value<'v, 't>> {
        self.asked.push(key);
        let (_, value) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Value::new(self.origin, self.named(key), value))
    }

    /// The same, read.
    pub(super) fn setting<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'v, 't>) -> Result<T, Fault>,
    ) -> Result<Option<Setting<T>>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        Ok(Some(Setting::new(read(&value)?, value.name, value.place)))
    }

    /// A section in this one.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Self, Fault> {
        match self.value(key) {
            Some(value) => value.section(),
            None => Ok(Self {
                origin: self.origin,
                name: self.named(key),
                place: self.place,
                table: None,
                asked: Vec::new(),
            }),
        }
    }

    /// A list of sections, in the order of the text.
    pub(super) fn sections(&mut self, key: &'static str) -> Result<Vec<Self>, Fault> {
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        match value.value {
            DeValue::Array(values) => values
                .iter()
                .map(|value| Value::new(self.origin, self.named(key), value).section())
                .collect(),
            _ => Err(value.fault(format!("must be a list of sections: write `[[{key}]]`"))),
        }
    }

    /// Refuses keys that nothing has asked for: one that is mistyped would have no effect.
    pub(super) fn end(&self) -> Result<(), Fault> {
        let keys = self.table.iter().flat_map(|table| table.iter());
        let mut unknown: Vec<_> = keys
            .map(|(name, _)| name)
            .filter(|name| !self.asked.contains(&&**name.get_ref()))
            .collect();
        // The first one in the text.
        unknown.sort_by_key(|name| name.span().start);
        let Some(name) = unknown.first() else { return Ok(()) };
        let known = self.asked.join(", ");
        let text = match self.name.is_empty() {
            true => format!(
                "unknown section or key {}; the sections are {known}",
                shown(name.get_ref())
            ),
            false => format!(
                "unknown key {} in section `{}`; its keys are {known}",
                shown(name.get_ref()),
                self.name
            ),
        };
        Err(Fault::new(ConfigFileErrorKind::UnknownKey, text).at(Place::of(self.origin.text, name.span().start)))
    }

    pub(super) fn fault(&self, text: impl AsRef<str>) -> Fault {
        Fault::invalid(self.place, format!("section `{}` {}", self.name, text.as_ref()))
    }

    /// Why the section is not accepted.
    pub(super) fn refused(&self, error: ConfigError) -> Fault {
        let setting = error.setting().to_owned();
        self.fault(format!("cannot be used: {setting} {}", problem(error)))
    }

    fn named(&self, key: &str) -> String {
        match self.name.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.name),
        }
    }
}

impl<'v, 't> Value<'v, 't> {
    fn new(origin: Origin<'t>, name: String, value: &'v Spanned<DeValue<'t>>) -> Self {
        Self {
            origin,
            name,
            place: Place::of(origin.text, value.span().start),
            value: value.get_ref(),
        }
    }

    pub(super) fn fault(&self, text: impl AsRef<str>) -> Fault {
        Fault::invalid(self.place, format!("`{}` {}", self.name, text.as_ref()))
    }

    pub(super) fn folder(&self) -> Option<&'t Path> {
        self.origin.folder
    }

    pub(super) fn text(&self) -> Result<&'v str, Fault> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected("text in quotes")),
        }
    }

    pub(super) fn is_true(&self) -> Result<bool, Fault> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.expected("true or false, without quotes")),
        }
    }

    pub(super) fn is_false(&self) -> bool {
        matches!(self.value, DeValue::Boolean(false))
    }

    /// A whole number. What takes it may have narrower bounds.
    pub(super) fn number<T>(&self, within: RangeInclusive<T>) -> Result<T, Fault>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let DeValue::Integer(number) = self.value else {
            return Err(self.expected("a whole number, without quotes"));
        };
        let number = i128::from_str_radix(number.as_str(), number.radix()).ok();
        let fits = number.and_then(|number| T::try_from(number).ok());
        fits.filter(|number| within.contains(number)).ok_or_else(|| {
            let (least, most) = within.into_inner();
            let got = number.map_or_else(|| "a larger number".to_owned(), |number| number.to_string());
            self.fault(format!("must be between {least} and {most}, got {got}"))
        })
    }

    pub(super) fn duration(&self) -> Result<Duration, Fault> {
        match self.value {
            DeValue::String(text) => units::duration(text)
                .ok_or_else(|| self.fault(format!("must be {}, got {}", units::DURATION, quoted(text)))),
            _ => Err(self.expected(units::DURATION)),
        }
    }

    /// In bytes.
    pub(super) fn size(&self) -> Result<u64, Fault> {
        match self.value {
            DeValue::String(text) => {
                units::size(text).ok_or_else(|| self.fault(format!("must be {}, got {}", units::SIZE, quoted(text))))
            }
            DeValue::Integer(_) => self.number(0..=u64::MAX),
            _ => Err(self.expected(units::SIZE)),
        }
    }

    /// A path, from the folder of the file if it is relative.
    pub(super) fn path(&self) -> Result<PathBuf, Fault> {
        let text = self.text()?;
        if text.is_empty() || text.contains('\0') {
            return Err(self.fault("must be the path of a file"));
        }
        self.refuse_variables(text)?;
        Ok(self
            .origin
            .folder
            .map_or_else(|| text.into(), |folder| folder.join(text)))
    }

    /// Shells replace these, and a file has no shell.
    pub(super) fn refuse_variables(&self, text: &str) -> Result<(), Fault> {
        if text.starts_with('~') {
            return Err(
                self.fault("must not begin with `~`: write the folder out, or a path from the folder of this file")
            );
        }
        if text.starts_with('$') || text.contains("${") {
            return Err(self.fault("must not have variables: they are not replaced here"));
        }
        Ok(())
    }

    /// One of several texts.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Fault> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.fault(format!("must be one of {}, got {}", names.join(", "), quoted(text)))
        })
    }

    pub(super) fn list(&self) -> Result<Vec<Self>, Fault> {
        match self.value {
            DeValue::Array(values) => Ok(values
                .iter()
                .map(|value| Value::new(self.origin, self.name.clone(), value))
                .collect()),
            _ => Err(self.expected("a list, such as [\"one\", \"two\"]")),
        }
    }

    fn section(self) -> Result<Section<'v, 't>, Fault> {
        match self.value {
            DeValue::Table(table) => Ok(Section {
                origin: self.origin,
                name: self.name,
                place: self.place,
                table: Some(table),
                asked: Vec::new(),
            }),
            DeValue::Array(_) => Err(self.fault(format!("must be one section: write `[{}]`", self.name))),
            _ => Err(self.fault(format!("must be a section: write `[{}]`", self.name))),
        }
    }

    fn expected(&self, what: &str) -> Fault {
        let got = match self.value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        self.fault(format!("must be {what}, got {got}"))
    }
}

/// A name in an error: a key or a password may have been put in its place.
fn shown(name: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match name.len() <= LONGEST_SHOWN && !name.is_empty() && name.chars().all(is_name) {
        true => format!("`{name}`"),
        false => "(not shown)".to_owned(),
    }
}

/// Longer than the names of all keys.
const LONGEST_SHOWN: usize = 32;
