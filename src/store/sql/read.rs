//! Rows of keys, organizations and what they share, as records.

use super::column;
use super::row::{Columns, invalid, read_actor, required};
use super::statement::{PLAN, count};
use crate::key::{
    KeyId, KeyRecord, KeySecret, KnownScope, Lookup, Organization, OrganizationId, Plan, PlanId, Realm, RealmId,
    Revocation, Role, ScopeSet, SecretHash, SecretPurpose, SecretValue, ServerSecretRecord, User,
};
use crate::store::{Candidate, StoreError};

impl Columns<'_> {
    pub(in crate::store) fn key(&mut self) -> Result<KeyRecord, StoreError> {
        let id = KeyId::from(self.uuid("keys.id")?);
        let organization = OrganizationId::from(self.uuid("keys.organization_id")?);
        let revision = self.revision("keys.revision")?;
        let user = self.optional_parsed("keys.user_id", |text| text.parse().map_err(|_| "invalid user id"))?;
        let name = self.text("keys.name")?;
        self.skip(1);
        let prefix = self.text("keys.prefix")?;
        let environment = self.optional_text("keys.environment")?;
        let scopes = self.parsed("keys.scopes", column::read_scopes)?;
        let networks = self.parsed("keys.networks", column::read_networks)?;
        let limits = self.parsed("keys.limits", column::read_limits)?;
        let metadata = self.parsed("keys.metadata", column::read_metadata)?;
        let status = self.parsed("keys.status", column::read_key_status)?;
        let revocation = self.revocation()?;
        let created_at = self.time("keys.created_at")?;
        let created_by = self.parsed("keys.created_by", read_actor)?;
        let expires_at = self.optional_time("keys.expires_at")?;
        let mut record = KeyRecord::new(organization, name, created_at);
        record.id = id;
        record.user = user;
        record.prefix = prefix;
        record.environment = environment;
        record.scopes = scopes;
        record.networks = networks;
        record.limits = limits;
        record.metadata = metadata;
        record.status = status;
        record.revocation = revocation;
        record.created_by = created_by;
        record.expires_at = expires_at;
        record.revision = revision;
        record.ends_with_user = self.truth("keys.ends_with_user")?;
        record.labels = self.parsed("keys.labels", column::read_labels)?;
        record.roles = self.parsed("keys.roles", column::read_roles)?;
        record.lifted_limits = self.parsed("keys.lifted_limits", column::read_limit_names)?;
        record.created_by_key = self.optional_uuid("keys.created_by_key")?.map(KeyId::from);
        record.is_canary = self.truth("keys.canary")?;
        record.requires = self.parsed("keys.requires", column::read_features)?;
        record.holds = self.parsed("keys.holds", column::read_holds)?;
        Ok(record)
    }

    /// What a key is found with.
    pub(in crate::store) fn candidate(&mut self) -> Result<Candidate, StoreError> {
        let secret = self.secret()?;
        let record = self.key()?;
        let mut candidate = Candidate::new(record, secret, self.organization()?);
        candidate.role_scopes = self.role_scopes()?;
        candidate.plan = self.optional_plan()?;
        candidate.user = self.optional_user()?;
        Ok(candidate)
    }

    fn revocation(&mut self) -> Result<Option<Revocation>, StoreError> {
        let at = self.optional_time("keys.status_at")?;
        let reason = self.optional_text("keys.status_reason")?;
        let actor = self.optional_parsed("keys.status_actor", read_actor)?;
        match (at, reason, actor) {
            (None, None, None) => Ok(None),
            (Some(at), Some(reason), Some(actor)) => Ok(Some(Revocation::new(at, reason, actor))),
            _ => Err(invalid("keys.status_at", "time, reason and actor must be set together")),
        }
    }

    pub(in crate::store) fn secret(&mut self) -> Result<KeySecret, StoreError> {
        let lookup = self.parsed("key_secrets.lookup", |text| {
            Lookup::new(text).map_err(|_| "invalid lookup")
        })?;
        self.skip(1);
        let hash = self.parsed("key_secrets.hash", |text| {
            SecretHash::new(text).map_err(|_| "invalid hash")
        })?;
        let form = self.parsed("key_secrets.form", column::read_form)?;
        let created_at = self.time("key_secrets.created_at")?;
        let mut secret = KeySecret::new(lookup, hash, created_at);
        secret.form = form;
        secret.expires_at = self.optional_time("key_secrets.expires_at")?;
        secret.grace_ends_at = self.optional_time("key_secrets.grace_ends_at")?;
        secret.hint = self.optional_text("key_secrets.hint")?;
        Ok(secret)
    }

    pub(in crate::store) fn organization(&mut self) -> Result<Organization, StoreError> {
        let id = OrganizationId::from(self.uuid("organizations.id")?);
        let revision = self.revision("organizations.revision")?;
        let slug = self.text("organizations.slug")?;
        let mut organization = Organization::new(self.text("organizations.name")?);
        self.skip(1);
        (organization.id, organization.revision, organization.slug) = (id, revision, slug);
        organization.status = self.parsed("organizations.status", column::read_organization_status)?;
        organization.limits = self.parsed("organizations.limits", column::read_limits)?;
        organization.email = self.optional_text("organizations.email")?;
        self.skip(1);
        organization.plan = self.optional_uuid("organizations.plan_id")?.map(PlanId::from);
        organization.is_operator = self.truth("organizations.is_operator")?;
        organization.requires = self.parsed("organizations.requires", column::read_features)?;
        organization.lifted_limits = self.parsed("organizations.lifted_limits", column::read_limit_names)?;
        organization.key_limits = self.parsed("organizations.key_limits", column::read_limits)?;
        organization.lifted_key_limits = self.parsed("organizations.lifted_key_limits", column::read_limit_names)?;
        organization.max_keys = self.optional_number("organizations.max_keys")?;
        organization.policy = self.parsed("organizations.policy", column::read_policy)?;
        organization.metadata = self.parsed("organizations.metadata", column::read_metadata)?;
        organization.created_at = self.time("organizations.created_at")?;
        Ok(organization)
    }

    /// The scopes of all roles of a key.
    pub(in crate::store) fn role_scopes(&mut self) -> Result<ScopeSet, StoreError> {
        let scopes = self.optional_parsed("roles.scopes", column::read_role_scopes)?;
        Ok(scopes.unwrap_or_default())
    }

    /// A plan, if one was joined.
    pub(in crate::store) fn optional_plan(&mut self) -> Result<Option<Plan>, StoreError> {
        if self.is_next_set() {
            return self.plan().map(Some);
        }
        self.skip(count(PLAN));
        Ok(None)
    }

    /// A user, if one was joined.
    pub(in crate::store) fn optional_user(&mut self) -> Result<Option<User>, StoreError> {
        self.is_next_set().then(|| self.user()).transpose()
    }

    pub(in crate::store) fn plan(&mut self) -> Result<Plan, StoreError> {
        let id = PlanId::from(self.uuid("plans.id")?);
        let revision = self.revision("plans.revision")?;
        let mut plan = Plan::new(self.text("plans.name")?);
        (plan.id, plan.revision) = (id, revision);
        plan.key_limits = self.parsed("plans.key_limits", column::read_limits)?;
        plan.limits = self.parsed("plans.limits", column::read_limits)?;
        plan.max_keys = self.optional_number("plans.max_keys")?;
        Ok(plan)
    }

    pub(in crate::store) fn user(&mut self) -> Result<User, StoreError> {
        let organization = OrganizationId::from(self.uuid("users.organization_id")?);
        let id = self.parsed("users.user_id", |text| text.parse().map_err(|_| "invalid user id"))?;
        let revision = self.revision("users.revision")?;
        let name = self.optional_text("users.display_name")?;
        let email = self.optional_text("users.email")?;
        let metadata = self.parsed("users.metadata", column::read_metadata)?;
        let status = self.parsed("users.status", column::read_user_status)?;
        let reason = self.text("users.reason")?;
        let actor = self.parsed("users.actor", read_actor)?;
        let mut user = User::new(organization, id, self.time("users.changed_at")?);
        (user.name, user.email, user.metadata) = (name, email, metadata);
        (user.status, user.reason, user.actor) = (status, reason, actor);
        user.revision = revision;
        Ok(user)
    }

    pub(in crate::store) fn role(&mut self) -> Result<Role, StoreError> {
        let name = self.text("roles.name")?;
        let revision = self.revision("roles.revision")?;
        let mut role = Role::new(name, self.parsed("roles.scopes", column::read_scopes)?);
        role.description = self.text("roles.description")?;
        role.revision = revision;
        Ok(role)
    }

    pub(in crate::store) fn known_scope(&mut self) -> Result<KnownScope, StoreError> {
        let scope = self.parsed("scopes.scope", |text| text.parse().map_err(|_| "invalid scope"))?;
        Ok(KnownScope::new(scope, self.text("scopes.description")?))
    }

    pub(in crate::store) fn realm(&mut self) -> Result<Realm, StoreError> {
        let id = RealmId::from(self.uuid("realm.realm_id")?);
        let crc_accepted_until = self.time("realm.crc_accepted_until")?;
        let mut realm = Realm::new(self.time("realm.created_at")?);
        realm.id = id;
        realm.crc_accepted_until = crc_accepted_until;
        Ok(realm)
    }

    pub(in crate::store) fn server_secret(&mut self) -> Result<ServerSecretRecord, StoreError> {
        let purpose = SecretPurpose::new(self.text("server_secrets.purpose")?);
        let id = self.text("server_secrets.id")?;
        let number = self.count("server_secrets.n")?;
        let state = self.parsed("server_secrets.state", column::read_secret_state)?;
        let sealed_by = self.optional_text("server_secrets.sealed_by")?;
        let value = self.optional_bytes("server_secrets.value")?.map(SecretValue::new);
        let value = required("server_secrets.value", value)?;
        let created_at = self.time("server_secrets.created_at")?;
        let mut row = ServerSecretRecord::new(purpose, id, value, created_at);
        row.number = u8::try_from(number).map_err(|_| invalid("server_secrets.n", "must be at most 255"))?;
        row.state = state;
        row.sealed_by = sealed_by;
        row.active_from = self.time("server_secrets.active_from")?;
        row.retire_at = self.optional_time("server_secrets.retire_at")?;
        Ok(row)
    }
}
