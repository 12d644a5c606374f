//! Tests of the workspace itself: `tests/arrows.rs` holds the arrows between crates.
