//! Steps that work on values alone (`docs/compat/behaviour-5-steps.md` 5.8).

mod assert;
mod log_renderable;
mod set_properties;
mod set_properties_from_env;
mod set_property;

pub(super) use self::{
    assert::Assert, log_renderable::LogRenderable, set_properties::SetProperties,
    set_properties_from_env::SetPropertiesFromEnv, set_property::SetProperty,
};
