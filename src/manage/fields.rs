//! What the library calls a part of a request, and what it is called in bodies and queries.

/// The member or parameter that this field of an [`IssueError`](crate::IssueError) is; `None` if it is none that a client sends.
pub(super) fn member(field: &str) -> Option<&'static str> {
    let found = MEMBERS.iter().find(|(library, _)| *library == field);
    found.and_then(|(_, member)| *member)
}

/// Every field that the library says, and its member.
const MEMBERS: &[(&str, Option<&str>)] = &[
    ("created_by_key", None),
    ("default_life", Some("default_life")),
    ("descendants", Some("descendants")),
    ("description", Some("description")),
    ("digest", Some("digest")),
    ("email", Some("email")),
    ("ends_with_user", Some("ends_with_user")),
    ("environment", Some("environment")),
    ("expiry", Some("expires_at")),
    ("grace period", Some("grace")),
    ("grants", None),
    ("is_operator", None),
    ("key", None),
    ("key format", None),
    ("key id", None),
    ("key_limits", Some("key_limits")),
    ("labels", Some("labels")),
    ("limits", Some("lifted_limits")),
    ("longest_life", Some("longest_life")),
    ("max_keys", Some("max_keys")),
    ("metadata", Some("metadata")),
    ("metadata name", Some("metadata")),
    ("metadata value", Some("metadata")),
    ("name", Some("name")),
    ("network", Some("networks")),
    ("networks", Some("networks")),
    ("organization", Some("organization_id")),
    ("page", Some("after")),
    ("plan", Some("plan_id")),
    ("rate limit", Some("limits")),
    ("rate limit burst", Some("limits")),
    ("rate limit cost", Some("limits")),
    ("rate limit name", Some("limits")),
    ("rate limit window", Some("limits")),
    ("rate limits", Some("limits")),
    ("realm secret", None),
    ("role", None),
    ("roles", Some("roles")),
    ("scope", Some("scope")),
    ("scopes", Some("scopes")),
    ("secret", None),
    ("slug", Some("slug")),
    ("store", None),
    ("user", Some("user")),
    ("user id", Some("id")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::{fs, io};

    use super::*;
    use crate::manage::openapi;

    /// Where errors are made that name a field of a request.
    const SOURCES: [&str; 6] = [
        "src/issue",
        "src/key/limit.rs",
        "src/key/metadata.rs",
        "src/key/network.rs",
        "src/key/scope.rs",
        "src/key/slug.rs",
    ];
    /// What comes before the field, and whether another argument is between.
    const CALLS: [(&str, bool); 8] = [
        ("ConfigError::new(", false),
        ("ConfigError::out_of_range(", false),
        ("ParseError::new(", false),
        ("IssueError::missing(", false),
        ("IssueError::not_allowed(", false),
        ("IssueError::taken(", false),
        ("IssueError::about(", true),
        ("of_field(", false),
    ];

    #[test]
    fn every_field_of_the_library_has_a_line() {
        let mut fields = BTreeSet::new();
        for source in SOURCES {
            read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source), &mut fields).unwrap();
        }
        assert!(fields.len() > 20, "{fields:?}");
        let has_line = |field: &str| MEMBERS.iter().any(|(library, _)| *library == field);
        let missing: Vec<_> = fields.iter().filter(|field| !has_line(field)).collect();
        assert!(missing.is_empty(), "without a line: {missing:?}");
    }

    #[test]
    fn every_member_is_one_of_a_body_or_a_query() {
        let document = openapi::of().split_for_parts().1;
        let document = serde_json::to_value(document).unwrap();
        let mut names = BTreeSet::new();
        let schemas = document["components"]["schemas"].as_object().unwrap().values();
        for schema in schemas.filter(|schema| schema["additionalProperties"] == false) {
            names.extend(schema["properties"].as_object().unwrap().keys().cloned());
        }
        for operation in document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
        {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            names.extend(parameters.map(|one| one["name"].as_str().unwrap().to_owned()));
        }
        for member in MEMBERS.iter().filter_map(|(_, member)| *member) {
            assert!(names.contains(member), "{member} is in no body and no query");
        }
    }

    fn read(path: &Path, fields: &mut BTreeSet<String>) -> io::Result<()> {
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                read(&entry?.path(), fields)?;
            }
            return Ok(());
        }
        let text = fs::read_to_string(path)?;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (call, is_second) in CALLS {
            for (at, _) in code.match_indices(call) {
                let mut arguments = code[at + call.len()..].trim_start();
                if is_second {
                    let Some((_, rest)) = arguments.split_once(',') else {
                        continue;
                    };
                    arguments = rest.trim_start();
                }
                let literal = arguments.strip_prefix('"').and_then(|rest| rest.split_once('"'));
                fields.extend(literal.map(|(field, _)| field.to_owned()));
            }
        }
        Ok(())
    }
}
