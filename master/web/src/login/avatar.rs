//! Pictures of people: nothing is fetched here, browsers are only told where one is (`docs/compat/www-api.md` D.4).

use axum::{
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use md5::{Digest, Md5};
use muster_config::snapshot::AvatarMethod;

use crate::{AppState, forms::Fields};

/// The size in pixels where none is asked for, or nonsense.
const SIZE: u32 = 32;

pub(crate) async fn avatar(State(state): State<AppState>, RawQuery(query): RawQuery) -> Response {
    let fields = Fields::parse(&query.unwrap_or_default());
    let methods = state.config().www.avatar_methods.clone();
    let gravatar = methods.is_none_or(|methods| methods.contains(&AvatarMethod::Gravatar));
    if !gravatar {
        return (StatusCode::NOT_FOUND, "there are no pictures of people here\n").into_response();
    }
    let email = fields.get("email").unwrap_or_default().to_lowercase();
    let size: u32 = fields.get("size").and_then(|size| size.parse().ok()).unwrap_or(SIZE);
    let hash: String = Md5::digest(email).iter().map(|byte| format!("{byte:02x}")).collect();
    let address = format!("//www.gravatar.com/avatar/{hash}?d=retro&s={size}");
    (StatusCode::FOUND, [(header::LOCATION, address)]).into_response()
}
