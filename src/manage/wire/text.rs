//! Texts with a form of their own, for the document. They are read by the types of the library.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! texts {
    ($($(#[doc = $doc:literal])* $form:ident $name:literal 1..=$most:literal $pattern:literal)*) => {$(
        $(#[doc = $doc])*
        pub(crate) struct $form;

        impl PartialSchema for $form {
            fn schema() -> RefOr<Schema> {
                let description = [$($doc),*].concat();
                RefOr::T(Schema::Object(
                    ObjectBuilder::new()
                        .schema_type(schema::SchemaType::new(Type::String))
                        .description(Some(description.trim()))
                        .min_length(Some(1))
                        .max_length(Some($most))
                        .pattern(Some($pattern))
                        .build(),
                ))
            }
        }

        impl ToSchema for $form {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    )*};
}

texts! {
    /// A permission: `resource:action`, `resource:*` or `*`.
    ScopeText "Scope" 1..=128 r"^(\*|[a-z0-9_.-]+(:[a-z0-9_.*-]+)?)$"
    /// The name of a role.
    RoleText "RoleName" 1..=64 "^[a-z0-9][a-z0-9_.:/-]{0,63}$"
    /// A label of keys.
    LabelText "Label" 1..=64 "^[a-z0-9][a-z0-9_.:/-]{0,63}$"
    /// The name of a plan.
    PlanText "PlanName" 1..=64 "^[a-z0-9][a-z0-9_.:/-]{0,63}$"
    /// The name of a rate limit.
    LimitText "LimitName" 1..=64 "^[a-z0-9][a-z0-9_.:/-]{0,63}$"
    /// An address or a network, such as `192.0.2.0/24`.
    NetworkText "Network" 1..=43 "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$"
    /// The id that the service uses for a user. At most 255 bytes.
    UserText "UserId" 1..=255 r"^[^\x00-\x1f\x7f-\x9f]+$"
    /// A name for people. At most 255 bytes.
    NameText "DisplayName" 1..=255 r"^[^\x00-\x1f\x7f-\x9f]+$"
    /// The unique name of an organization, for URLs and commands.
    SlugText "Slug" 1..=64 "^[a-z0-9-]{1,64}$"
    /// An address, `name@domain`.
    EmailText "Email" 1..=254 r"^[^@\s\x00-\x1f\x7f-\x9f]{1,64}@[^@\s\x00-\x1f\x7f-\x9f.]+(\.[^@\s\x00-\x1f\x7f-\x9f.]+)*$"
    /// The id of an organization, or `all` for operators.
    WhoseText "Whose" 1..=36 "^(all|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$"
    /// Who does something, as `kind` or `kind:id`.
    ActorText "Actor" 1..=264 r"^(service|user|key|operator|system)(:[^\x00-\x1f\x7f-\x9f]{0,255})?$"
}
