//! Ids of key materials.

use aws_lc_rs::digest::{Context, SHA256};

use crate::blob::MaterialId;

/// The id of a material of a key: a digest over both, which tells nothing of the material.
pub fn material_id(key_arn: &str, material: &[u8]) -> MaterialId {
    let mut context = Context::new(&SHA256);
    context.update(b"strongroom/material-id/v1\0");
    context.update(key_arn.as_bytes());
    context.update(b"\0");
    context.update(material);
    let mut id = [0; 32];
    id.copy_from_slice(context.finish().as_ref());
    id
}
