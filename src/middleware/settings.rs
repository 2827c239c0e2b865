//! The settings of a layer, and what follows from them.

use http::Request;

use super::address::AddressRule;
use super::challenge::Challenges;
use super::credential::{Sources, Spot};
use super::https::HttpsRule;
use super::refusal::Additions;
use super::success::SuccessOptions;
use super::vary::Vary;
use crate::key::{KeyFormats, Scope};

/// The settings of a layer. What is the same for all requests is prepared once.
#[derive(Clone)]
pub(super) struct Settings {
    realm: Box<str>,
    sources: Sources,
    challenges: Challenges,
    vary: Option<Vary>,
    pub(super) address: AddressRule,
    pub(super) https: Option<HttpsRule>,
    pub(super) optional: bool,
    pub(super) keep_credential: bool,
    /// What every request needs.
    pub(super) scope: Option<Scope>,
    pub(super) environment: Option<Box<str>>,
    pub(super) record_on_span: bool,
    pub(super) success: SuccessOptions,
}

/// For keys of the default format.
impl Default for Settings {
    fn default() -> Self {
        Self::new(&KeyFormats::default())
    }
}

impl Settings {
    /// The default settings, for keys of these formats.
    pub(super) fn new(formats: &KeyFormats) -> Self {
        let (realm, sources) = ("api", Sources::defaults(formats));
        Self {
            challenges: Challenges::new(realm, sources.listed()),
            vary: Vary::by(sources.listed()),
            realm: realm.into(),
            sources,
            address: AddressRule::default(),
            https: None,
            optional: false,
            keep_credential: false,
            scope: None,
            environment: None,
            record_on_span: false,
            success: SuccessOptions::default(),
        }
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    pub(super) fn set_realm(&mut self, realm: &str) {
        self.challenges = Challenges::new(realm, self.sources.listed());
        self.realm = realm.into();
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    pub(super) fn set_sources(&mut self, sources: Sources) {
        self.challenges = Challenges::new(&self.realm, sources.listed());
        self.vary = Vary::by(sources.listed());
        self.sources = sources;
    }

    pub(super) fn set_formats(&mut self, formats: &KeyFormats) {
        self.sources.set_formats(formats);
    }

    pub(super) fn vary(&self) -> Option<&Vary> {
        self.vary.as_ref()
    }

    /// Removes the credentials from a request, or marks those that are to stay.
    pub(super) fn hide_credentials<Q>(&self, request: &mut Request<Q>, spot: &Spot) {
        if self.keep_credential {
            self.sources.mark_all(request, spot);
        } else {
            self.sources.strip(request, spot);
        }
    }

    /// What refusals are completed with.
    pub(super) fn additions(&self) -> Additions<'_> {
        Additions {
            challenges: Some(&self.challenges),
            vary: self.vary.as_ref(),
            legacy_rate_limit: self.success.legacy_rate_limit,
        }
    }
}
