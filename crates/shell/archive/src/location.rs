//! Where the store is, as settings say it: `file:///directory` or `s3://bucket/prefix`.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use object_store::{
    ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, Checksum},
    local::LocalFileSystem,
    path::Path as ObjectPath,
};

/// How long a request may take, with a whole segment in it.
const REQUEST: Duration = Duration::from_secs(300);
/// How long a request is repeated before the whole upload or restore begins again.
const RETRY: Duration = Duration::from_secs(60);

/// A store to which nobody has spoken yet.
#[derive(Clone, Debug)]
pub struct Location {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: ObjectPath,
    pub(crate) directory: Option<PathBuf>,
}

/// The settings do not say where the store is.
#[derive(Debug, thiserror::Error)]
pub enum BadLocation {
    #[error("the store is neither file:///an/absolute/directory nor s3://bucket/prefix")]
    Url,
    #[error("{0} is for a store of S3 alone")]
    NotForDirectories(&'static str),
    #[error("a store of S3 needs {0}")]
    Missing(&'static str),
    #[error("the endpoint is not reached over TLS: http is for loopback addresses alone")]
    InTheClear,
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{0} may be read by others: chmod 600")]
    Exposed(String),
    #[error("{0} has no aws_access_key_id and aws_secret_access_key for [default]")]
    NoCredentials(String),
    #[error("{0}")]
    Refused(#[from] object_store::Error),
}

impl Location {
    /// Reads the settings: the URL of the store and, for S3, the endpoint (none: AWS), the region, and the file with
    /// the credentials, in the form of `~/.aws/credentials`. A directory is made if it is not there.
    ///
    /// # Errors
    /// [`BadLocation`]; never shows a credential.
    pub fn parse(
        url: &str,
        endpoint: Option<&str>,
        region: Option<&str>,
        credentials: Option<&Path>,
    ) -> Result<Self, BadLocation> {
        if let Some(directory) = url.strip_prefix("file://") {
            let given = [(endpoint.is_some(), "endpoint"), (region.is_some(), "region")];
            let given = given.into_iter().chain([(credentials.is_some(), "credentials_file")]);
            if let Some((_, name)) = given.into_iter().find(|(given, _)| *given) {
                return Err(BadLocation::NotForDirectories(name));
            }
            return Self::directory(Path::new(directory));
        }
        let (bucket, prefix) = match url.strip_prefix("s3://") {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None => return Err(BadLocation::Url),
        };
        let prefix = ObjectPath::parse(prefix.trim_end_matches('/')).map_err(|_| BadLocation::Url)?;
        if bucket.is_empty() || !bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            return Err(BadLocation::Url);
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region.ok_or(BadLocation::Missing("region"))?)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig { max_retries: 5, retry_timeout: RETRY, ..RetryConfig::default() });
        let in_the_clear = endpoint.map_or(Ok(false), is_in_the_clear)?;
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let credentials = credentials.ok_or(BadLocation::Missing("credentials_file"))?;
        let Credentials { id, secret, token } = Credentials::read(credentials)?;
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        if let Some(token) = token {
            builder = builder.with_token(token);
        }
        let options = ClientOptions::new().with_timeout(REQUEST).with_allow_http(in_the_clear);
        let store = Arc::new(builder.with_client_options(options).build()?);
        Ok(Self { store, prefix, directory: None })
    }

    fn directory(directory: &Path) -> Result<Self, BadLocation> {
        if !directory.is_absolute() {
            return Err(BadLocation::Url);
        }
        let failed = |source| BadLocation::File { path: directory.display().to_string(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        // What it says is there has to be there after a power failure too.
        let store = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), prefix: ObjectPath::ROOT, directory: Some(directory.into()) })
    }
}

/// Whether an endpoint is spoken to without TLS, which it may be on this machine alone.
fn is_in_the_clear(endpoint: &str) -> Result<bool, BadLocation> {
    let Some(rest) = endpoint.strip_prefix("http://") else {
        return if endpoint.starts_with("https://") { Ok(false) } else { Err(BadLocation::Url) };
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if loopback { Ok(true) } else { Err(BadLocation::InTheClear) }
}

/// What signs requests. `object_store` keeps it in plain strings for as long as the server runs.
struct Credentials {
    id: String,
    secret: String,
    token: Option<String>,
}

impl Credentials {
    fn read(path: &Path) -> Result<Self, BadLocation> {
        let shown = path.display().to_string();
        let failed = |source| BadLocation::File { path: shown.clone(), source };
        if fs::metadata(path).map_err(failed)?.mode() & 0o077 != 0 {
            return Err(BadLocation::Exposed(shown));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let value = |wanted: &str| {
            let mut section = "";
            text.lines().map(str::trim).find_map(|line| {
                if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                    section = name.trim();
                }
                let (key, value) = line.split_once('=')?;
                (section == "default" && key.trim() == wanted).then(|| value.trim().to_owned())
            })
        };
        let (id, secret) = (value("aws_access_key_id"), value("aws_secret_access_key"));
        let token = value("aws_session_token");
        match (id, secret) {
            (Some(id), Some(secret)) => Ok(Self { id, secret, token }),
            _ => Err(BadLocation::NoCredentials(shown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG";

    fn credentials(dir: &Path, text: &str, mode: u32) -> PathBuf {
        let path = dir.join("credentials");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn s3(url: &str, endpoint: &str, credentials: &Path) -> Result<Location, BadLocation> {
        Location::parse(url, Some(endpoint), Some("eu-west-1"), Some(credentials))
    }

    #[test]
    fn a_directory_is_made_and_takes_no_settings_of_s3() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        let url = format!("file://{}", below.display());
        let location = Location::parse(&url, None, None, None).unwrap();
        assert_eq!(location.directory.as_deref(), Some(&*below));
        assert_eq!(fs::metadata(&below).unwrap().mode() & 0o777, 0o700);
        assert!(matches!(
            Location::parse(&url, None, Some("r"), None),
            Err(BadLocation::NotForDirectories("region"))
        ));
        for bad in ["file://a/b", "file://", "/a", "ftp://a/b", ""] {
            assert!(matches!(Location::parse(bad, None, None, None), Err(BadLocation::Url)), "{bad}");
        }
    }

    #[test]
    fn a_bucket_comes_with_prefix_region_and_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "[other]\naws_access_key_id = no\n[default]\naws_access_key_id=AKIA\naws_secret_access_key = {SECRET}\n"
        );
        let file = credentials(dir.path(), &text, 0o600);
        let read = Credentials::read(&file).unwrap();
        assert_eq!((&*read.id, &*read.secret, read.token), ("AKIA", SECRET, None));
        let location = s3("s3://bucket/a/b/", "https://minio.example:9000", &file).unwrap();
        assert_eq!(location.prefix.as_ref(), "a/b");
        assert!(!format!("{location:?}").contains(SECRET));
        assert!(s3("s3://bucket", "http://127.0.0.1:9000", &file).is_ok());
        assert!(s3("s3://bucket", "http://[::1]:9000", &file).is_ok());
        assert!(matches!(s3("s3://bucket", "http://10.0.0.1", &file), Err(BadLocation::InTheClear)));
        assert!(matches!(
            s3("s3://bucket", "http://localhost.example:80", &file),
            Err(BadLocation::InTheClear)
        ));
        assert!(matches!(s3("s3://", "https://e", &file), Err(BadLocation::Url)));
        let no_region = Location::parse("s3://bucket", None, None, Some(&file));
        assert!(matches!(no_region, Err(BadLocation::Missing("region"))));
    }

    #[test]
    fn credentials_that_others_may_read_or_that_are_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = credentials(dir.path(), "[default]\n", 0o644);
        assert!(matches!(s3("s3://bucket", "https://e", &open), Err(BadLocation::Exposed(_))));
        let text = format!("aws_access_key_id = a\naws_secret_access_key = {SECRET}\n");
        let none = credentials(dir.path(), &text, 0o600);
        let refused = s3("s3://bucket", "https://e", &none).unwrap_err();
        assert!(matches!(refused, BadLocation::NoCredentials(_)));
        assert!(!refused.to_string().contains(SECRET));
        assert!(matches!(
            s3("s3://bucket", "https://e", &dir.path().join("gone")),
            Err(BadLocation::File { .. })
        ));
    }
}
