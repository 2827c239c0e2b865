//! What an organization's fields must be.

use std::time::Duration;

use crate::error::ConfigError;
use crate::issue::bounds::{check_email, check_limits, check_max_keys, check_metadata, check_name, of_field};
use crate::key::{Organization, Policy, check_slug};

const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Checks what differs from before, or all of a new row: an organization that was imported and would be refused here must not be
/// impossible to deactivate.
pub(super) fn check_organization(row: &Organization, before: Option<&Organization>) -> Result<(), ConfigError> {
    // Each field is named, so that a new one is not forgotten.
    let Organization {
        slug,
        name,
        email,
        limits,
        key_limits,
        max_keys,
        policy,
        metadata,
        // Their types know no others.
        status: _,
        lifted_limits: _,
        lifted_key_limits: _,
        requires: _,
        // The store looks whether there is one.
        plan: _,
        // One organization has it, as the store knows.
        is_operator: _,
        // They stay as they are.
        id: _,
        created_at: _,
        revision: _,
    } = row;
    if before.is_none_or(|before| before.name != *name) {
        check_name(name)?;
    }
    if before.is_none_or(|before| before.slug != *slug) {
        check_slug(slug)?;
    }
    if before.is_none_or(|before| before.email != *email) {
        email.as_deref().map_or(Ok(()), check_email)?;
    }
    if before.is_none_or(|before| before.limits != *limits) {
        check_limits(limits, &[])?;
    }
    if before.is_none_or(|before| before.key_limits != *key_limits) {
        check_limits(key_limits, &[]).map_err(|error| of_field("key_limits", error))?;
    }
    if before.is_none_or(|before| before.max_keys != *max_keys) {
        check_max_keys(*max_keys)?;
    }
    if before.is_none_or(|before| before.policy != *policy) {
        check_policy(policy)?;
    }
    if before.is_none_or(|before| before.metadata != *metadata) {
        check_metadata(metadata)?;
    }
    Ok(())
}

pub(super) fn check_policy(policy: &Policy) -> Result<(), ConfigError> {
    let Policy {
        longest_life,
        default_life,
        requires_expiry: _,
        grantable: _,
        requires_networks: _,
    } = policy;
    for (field, life) in [("longest_life", longest_life), ("default_life", default_life)] {
        let Some(life) = life else { continue };
        // A key that never works is a mistake: seconds were taken for milliseconds.
        if *life < Duration::from_millis(1) || *life > LONGEST_LIFE {
            let problem = format!("must be between 1 ms and 36500 days, got {life:?}");
            return Err(ConfigError::new(field, problem));
        }
    }
    match (default_life, longest_life) {
        (Some(default), Some(longest)) if default > longest => {
            let problem = format!("must be at most the longest life, {longest:?}, got {default:?}");
            Err(ConfigError::new("default_life", problem))
        }
        _ => Ok(()),
    }
}
