//! What the tests of this crate share.

/// Whether a test that needs root can run; says why if not. `STRONGROOM_REQUIRE_ROOT_TESTS=1` makes that a failure.
#[expect(clippy::print_stderr, reason = "the reason has to be seen")]
pub fn needs_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("STRONGROOM_REQUIRE_ROOT_TESTS").is_none_or(|value| value != "1"),
        "this test needs root"
    );
    eprintln!("skipped: this test needs root");
    false
}
