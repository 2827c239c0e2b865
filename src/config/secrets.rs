//! `[secrets]`: the root keys that stored secrets are sealed under.

use std::path::{Path, PathBuf};

use super::error::Fault;
use super::setting::Setting;
use super::value::{Section, Value};
use crate::secrets::RootKeys;

#[derive(Clone, Debug)]
pub(super) struct SecretsConfig {
    root_key_file: Option<Setting<PathBuf>>,
    former_root_key_file: Option<Setting<PathBuf>>,
}

impl SecretsConfig {
    pub(super) fn read(mut section: Section<'_, '_>) -> Result<Self, Fault> {
        let read = Self {
            root_key_file: section.setting("root_key_file", Value::path)?,
            former_root_key_file: section.setting("former_root_key_file", Value::path)?,
        };
        section.end()?;
        match &read {
            Self {
                root_key_file: None,
                former_root_key_file: Some(former),
            } => Err(former.fault("needs a `root_key_file` beside it: the current key")),
            _ => Ok(read),
        }
    }

    pub(super) fn root_key_file(&self) -> Option<&Path> {
        self.root_key_file.as_ref().map(|setting| setting.value.as_path())
    }

    /// Reads the files; `None` if none is named.
    pub(super) fn root_keys(&self) -> Result<Option<RootKeys>, Fault> {
        let Self {
            root_key_file,
            former_root_key_file,
        } = self;
        let read =
            |setting: &Setting<PathBuf>| RootKeys::from_file(&setting.value).map_err(|error| setting.refused(error));
        let Some(current) = root_key_file.as_ref().map(read).transpose()? else {
            return Ok(None);
        };
        match former_root_key_file {
            None => Ok(Some(current)),
            Some(former) => {
                let problem = "must be left out: the second line of `root_key_file` has a former key already";
                let keys = current.after(read(former)?);
                keys.map(Some).ok_or_else(|| former.fault(problem))
            }
        }
    }
}
