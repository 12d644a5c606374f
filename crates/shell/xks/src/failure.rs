//! What can go wrong between here and an external key.

use serde::Deserialize;

/// Why a proxy did not do what it was asked. `Display` is the text of AWS for it (AWS KMS developer guide,
/// "Troubleshooting external key stores").
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error(
        "The external key store proxy rejected the request because the external key is not enabled in the external key \
         manager."
    )]
    InvalidState,
    #[error(
        "The external key store proxy rejected the request because the specified ciphertext or additional authenticated \
         data is corrupted, missing, or otherwise invalid."
    )]
    InvalidCiphertext,
    #[error(
        "The external key store proxy rejected the request because the external key does not support the requested \
         operation."
    )]
    InvalidKeyUsage,
    #[error(
        "The external key store proxy rejected the request because it could not authenticate AWS KMS. Verify the \
         credentials for your external key store and update if necessary."
    )]
    AuthenticationFailed,
    #[error(
        "The external key store proxy denied access to the operation. Verify that the user and the external key are \
         both authorized for this operation, and try the request again."
    )]
    AccessDenied,
    #[error("The external key store proxy rejected the request because it could not find the external key.")]
    KeyNotFound,
    #[error(
        "The external key store proxy rejected the request because of an invalid URI path. Verify the URI path for your \
         external key store and update if necessary."
    )]
    InvalidUriPath,
    #[error(
        "The external key store proxy rejected the request because it does not support the requested cryptographic \
         operation."
    )]
    Unsupported,
    #[error(
        "The external key store proxy rejected the request due to a very high request rate. Reduce the frequency of \
         your calls using KMS keys in this external key store."
    )]
    Throttled,
    #[error(
        "The external key store proxy did not respond to the request in the time allotted. Retry the request. If you \
         see this error repeatedly, report it to your external key store proxy administrator."
    )]
    DependencyTimeout,
    #[error(
        "The external key store proxy rejected the request because it cannot communicate with the external key manager. \
         Verify that the external key store proxy configuration is correct and that the external key manager is \
         available."
    )]
    Internal,
    /// The proxy says that none of its key managers works.
    #[error(
        "The external key store proxy is in an unhealthy state. If you see this message repeatedly, notify your \
         external key store proxy administrator."
    )]
    Unhealthy,
    /// The answer is not one of the API's.
    #[error(
        "AWS KMS cannot interpret the response from the external key store proxy. If you see this error repeatedly, \
         report it to your external key store proxy administrator."
    )]
    Malformed,
    #[error(
        "AWS KMS cannot communicate with the external key store proxy. This might be a transient network issue. If you \
         see this error repeatedly, verify that your external key store proxy is active and is connected to the \
         network, and that its endpoint URI is correct in your external key store."
    )]
    Unreachable,
    #[error(
        "AWS KMS cannot establish a TLS connection to the external key store proxy. Verify the TLS configuration, \
         including its certificate."
    )]
    Tls,
    #[error(
        "AWS KMS rejected the request because the external key store proxy did not respond in time. Retry the request. \
         If you see this error repeatedly, report it to your external key store proxy administrator."
    )]
    TimedOut,
    /// As many requests as there may be are under way already.
    #[error("You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")]
    Busy,
}

impl Failure {
    /// Whether nothing follows from it for the external key: the proxy could not be asked, or could not tell.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::DependencyTimeout
                | Self::Internal
                | Self::Unhealthy
                | Self::Malformed
                | Self::Unreachable
                | Self::Tls
                | Self::TimedOut
                | Self::Busy
        )
    }
}

/// The body of a proxy's error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    error_name: String,
    /// For the log of the operator alone, as in AWS.
    error_message: Option<String>,
}

impl Told {
    /// What the proxy means. A request that it finds invalid is one that it has not understood.
    pub(crate) fn failure(&self) -> Failure {
        match self.error_name.as_str() {
            "InvalidStateException" => Failure::InvalidState,
            "InvalidCiphertextException" => Failure::InvalidCiphertext,
            "InvalidKeyUsageException" => Failure::InvalidKeyUsage,
            "AuthenticationFailedException" => Failure::AuthenticationFailed,
            "AccessDeniedException" => Failure::AccessDenied,
            "KeyNotFoundException" => Failure::KeyNotFound,
            "InvalidUriPathException" => Failure::InvalidUriPath,
            "UnsupportedOperationException" => Failure::Unsupported,
            "ThrottlingException" => Failure::Throttled,
            "DependencyTimeoutException" => Failure::DependencyTimeout,
            "InternalException" => Failure::Internal,
            _ => Failure::Malformed,
        }
    }

    /// Name and message, as a log can show them: printable ASCII, at most 512 characters.
    pub(crate) fn shown(&self) -> String {
        let text = format!("{}: {}", self.error_name, self.error_message.as_deref().unwrap_or_default());
        text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(512).collect()
    }
}
