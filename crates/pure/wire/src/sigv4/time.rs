//! How far the clock of the signer may be off, and until when a presigned request holds.

use std::time::Duration;

use ids::Timestamp;

use super::{Signature, invalid};
use crate::fault::{Audience, Fault};

/// # Errors
/// `InvalidSignatureException` or `SignatureDoesNotMatch`, with both instants.
pub fn check_time(signature: &Signature, now: Timestamp, audience: Audience) -> Result<(), Fault> {
    let minutes = match audience {
        Audience::Json => 5,
        Audience::Query => 15,
    };
    let skew = Duration::from_secs(minutes * 60);
    let signed = signature.signed_at;
    let (at, clock) = (signed.basic(), now.basic());
    if signed > now.plus(skew) {
        let limit = now.plus(skew).basic();
        let text =
            format!("Signature not yet current: {at} is still later than {limit} ({clock} + {minutes} min.)");
        return Err(invalid(audience, &text));
    }
    let lasts = signature.expires.map_or(skew, |seconds| Duration::from_secs(u64::from(seconds)));
    if signed < now.minus(lasts) {
        let limit = now.minus(lasts).basic();
        let span = lasts.as_secs() / 60;
        let text = format!("Signature expired: {at} is now earlier than {limit} ({clock} - {span} min.)");
        return Err(invalid(audience, &text));
    }
    Ok(())
}
