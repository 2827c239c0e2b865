//! What a key has, as options.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::text::duration;
use crate::work::{Work, organization_id};

/// What a key has.
#[derive(Args, Debug)]
pub(crate) struct Fields {
    /// The organization, by its id or slug
    #[arg(long, short, value_name = "ORGANIZATION")]
    pub(super) org: Option<String>,
    /// The user for whom the key acts
    #[arg(long, value_name = "ID")]
    pub(super) user: Option<String>,
    /// What the key may do, such as orders:read; may be given several times
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    pub(super) scope: Vec<String>,
    /// A role, whose scopes the key has too
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) role: Vec<String>,
    /// What lists find the key by
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    pub(super) label: Vec<String>,
    /// Where the key may be used from, such as 192.0.2.0/24
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub(super) network: Vec<String>,
    /// A rate limit, such as requests=100/1m or requests=100/1m,burst=20
    #[arg(long, value_name = "LIMIT")]
    pub(super) limit: Vec<String>,
    /// Data of yours, as name=value
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) metadata: Vec<String>,
    /// Ends the key after this time, such as 90d
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "expires_at")]
    pub(super) expires_in: Option<Duration>,
    /// Ends the key at this time, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) expires_at: Option<String>,
}

impl Fields {
    /// The members of a body, of what was given.
    pub(super) async fn members(&self, work: &Work) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        if let Some(organization) = &self.org {
            let id = organization_id(work, organization).await?;
            body.insert("organization_id".to_owned(), id.into());
        }
        if let Some(user) = &self.user {
            body.insert("user".to_owned(), user.clone().into());
        }
        for (name, values) in [
            ("scopes", &self.scope),
            ("roles", &self.role),
            ("labels", &self.label),
            ("networks", &self.network),
        ] {
            if !values.is_empty() {
                body.insert(name.to_owned(), values.clone().into());
            }
        }
        if !self.limit.is_empty() {
            let limits: Result<Vec<Value>, Failure> = self.limit.iter().map(|text| limit(text)).collect();
            body.insert("limits".to_owned(), limits?.into());
        }
        if !self.metadata.is_empty() {
            let mut metadata = BTreeMap::new();
            for pair in &self.metadata {
                let (name, value) = pair
                    .split_once('=')
                    .ok_or_else(|| Failure::Usage("metadata is given as name=value".to_owned()))?;
                metadata.insert(name, value);
            }
            body.insert("metadata".to_owned(), json!(metadata));
        }
        if let Some(time) = self.expires_in {
            body.insert("expires_in".to_owned(), time.as_secs().into());
        }
        if let Some(time) = &self.expires_at {
            body.insert("expires_at".to_owned(), time.clone().into());
        }
        Ok(body)
    }
}

/// As the API has it.
pub(in crate::commands) fn limit(text: &str) -> Result<Value, Failure> {
    let limit: tower_api_key::key::RateLimit = text.parse()?;
    serde_json::to_value(&limit).map_err(|error| Failure::Usage(error.to_string()))
}
