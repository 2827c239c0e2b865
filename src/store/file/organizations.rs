//! The organizations of one text: stated in it, or named by its keys.

use std::collections::{HashMap, HashSet};

use super::entry;
use super::problem::Fault;
use super::value::Value;
use crate::key::{Organization, OrganizationId, Timestamp, numbered, slug_of};

/// Organizations by their names, each with a slug of its own.
pub(super) struct Organizations {
    list: Vec<Organization>,
    places: HashMap<String, usize>,
    /// Whether the text lists them. Then a name that is not listed is a typing error.
    are_stated: bool,
    slugs: HashSet<String>,
    /// The last number behind a slug that several names make.
    numbers: HashMap<String, u32>,
}

impl Organizations {
    /// Those that the text lists.
    pub(super) fn read(stated: Option<&Value<'_>>, id: impl Fn(&str) -> OrganizationId) -> Result<Self, Fault> {
        let mut organizations = Self {
            list: Vec::new(),
            places: HashMap::new(),
            are_stated: stated.is_some(),
            slugs: HashSet::new(),
            numbers: HashMap::new(),
        };
        for value in stated.map(Value::list).transpose()?.unwrap_or_default() {
            let (mut organization, slug) = entry::organization(value)?;
            if organizations.places.contains_key(&organization.name) {
                return Err(value.fault("repeated organization"));
            }
            organization.id = id(&organization.name);
            organization.slug = match slug {
                Some(slug) if organizations.slugs.contains(slug) => return Err(value.fault("repeated slug")),
                Some(slug) => slug.to_owned(),
                None => organizations.free_slug(&organization.name),
            };
            organizations.push(organization);
        }
        Ok(organizations)
    }

    /// The organization of this name, and its place in the list.
    pub(super) fn named(
        &mut self,
        name: &str,
        key: &Value<'_>,
        id: impl Fn(&str) -> OrganizationId,
    ) -> Result<(&Organization, usize), Fault> {
        let place = match self.places.get(name) {
            Some(place) => *place,
            // A name with a typing error would have no limits.
            None if self.are_stated => return Err(key.fault("its organization is not in `organizations`")),
            None => {
                let mut organization = Organization::new(name.to_owned());
                organization.id = id(name);
                organization.slug = self.free_slug(name);
                self.push(organization)
            }
        };
        let organization = self.list.get(place);
        organization
            .map(|organization| (organization, place))
            .ok_or_else(|| key.fault("its organization is missing"))
    }

    pub(super) fn into_list(self) -> Vec<Organization> {
        self.list
    }

    fn push(&mut self, mut organization: Organization) -> usize {
        // Not when it was read: a file that is read again unchanged gives the same rows.
        organization.created_at = Timestamp::from_millis(0);
        let place = self.list.len();
        self.places.insert(organization.name.clone(), place);
        self.slugs.insert(organization.slug.clone());
        self.list.push(organization);
        place
    }

    /// The same after every start, as long as the names stay in their order.
    fn free_slug(&mut self, name: &str) -> String {
        let slug = slug_of(name);
        if !self.slugs.contains(&slug) {
            return slug;
        }
        let number = self.numbers.entry(slug.clone()).or_insert(1);
        loop {
            *number += 1;
            let next = numbered(&slug, *number);
            if !self.slugs.contains(&next) {
                return next;
            }
        }
    }
}
