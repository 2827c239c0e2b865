//! Rows of uses of keys.

use uuid::Uuid;

use super::row::Columns;
use super::value::Value;
use crate::key::{KeyId, Lookup, OrganizationId, Timestamp};
use crate::last_use::{NetworkUse, ScopeUse, SecretUse};
use crate::store::StoreError;
use crate::store::query::{KeyStatistics, Statistics};

impl Columns<'_> {
    pub(in crate::store) fn secret_use(&mut self) -> Result<SecretUse, StoreError> {
        let lookup = self.parsed("key_use.lookup", |text| Lookup::new(text).map_err(|_| "invalid lookup"))?;
        let key = KeyId::from(self.uuid("key_use.key_id")?);
        let mut used = SecretUse::new(lookup, key, OrganizationId::from(self.uuid("key_use.organization_id")?));
        let at = self.time("key_use.last_used_at")?;
        used.last_used_at = (at > Timestamp::from_millis(0)).then_some(at);
        let invalid = |_| "invalid address";
        used.last_address = self.optional_parsed("key_use.last_address", |text| text.parse().map_err(invalid))?;
        used.requests = self.count("key_use.requests")?;
        Ok(used)
    }

    pub(in crate::store) fn scope_use(&mut self) -> Result<ScopeUse, StoreError> {
        let key = KeyId::from(self.uuid("scope_use.key_id")?);
        let scope = self.parsed("scope_use.scope", |text| text.parse().map_err(|_| "invalid scope"))?;
        Ok(ScopeUse::new(key, scope, self.time("scope_use.last_used_at")?))
    }

    pub(in crate::store) fn network_use(&mut self) -> Result<NetworkUse, StoreError> {
        let key = KeyId::from(self.uuid("key_networks.key_id")?);
        let network = self.text("key_networks.network")?;
        Ok(NetworkUse::new(key, network, self.time("key_networks.first_seen")?))
    }

    /// In the order of the statement.
    pub(in crate::store) fn statistics(&mut self) -> Result<Statistics, StoreError> {
        let mut statistics = Statistics::default();
        for number in [
            &mut statistics.total,
            &mut statistics.active,
            &mut statistics.disabled,
            &mut statistics.revoked,
            &mut statistics.expired,
            &mut statistics.expiring,
        ] {
            *number = self.count("count")?;
        }
        let used = self.count("count")?;
        statistics.never_used = statistics.total.saturating_sub(used);
        for number in [
            &mut statistics.used_in_a_day,
            &mut statistics.used_in_a_week,
            &mut statistics.used_in_a_month,
            &mut statistics.requests,
        ] {
            *number = self.count("count")?;
        }
        Ok(statistics)
    }
}

/// The organizations from ?1 to ?2, the time ?3, and the times of [`KeyStatistics::times`].
pub(in crate::store) fn statistics_values(query: &KeyStatistics) -> [Value<'static>; 7] {
    let organization = query.organization.map(|id| id.as_uuid());
    let [soon, day, week, month] = query.times();
    [
        organization.unwrap_or(Uuid::nil()).into(),
        organization.unwrap_or(Uuid::max()).into(),
        query.at.into(),
        soon.into(),
        day.into(),
        week.into(),
        month.into(),
    ]
}
