//! The administrator's credentials, as the shared credentials file of AWS clients has them.

use wire::Secret;
use zeroize::Zeroizing;

/// Text of a credentials file with one profile.
pub fn file(profile: &str, access_key_id: &str, secret: &Secret) -> Zeroizing<String> {
    // Longer than any profile, so that no unwiped piece is left behind when it grows.
    let mut text = Zeroizing::new(String::with_capacity(1024));
    for piece in [
        "[",
        profile,
        "]\naws_access_key_id = ",
        access_key_id,
        "\naws_secret_access_key = ",
        secret.expose(),
        "\n",
    ] {
        text.push_str(piece);
    }
    text
}
