//! `strongroom env`: what clients need, as shell exports, for `eval "$(strongroom env)"`.
#![allow(clippy::print_stdout, reason = "the exports are the command's output")]

use std::fs;

use clap::Args;

use super::{Failure, HomeOption, read_config};
use crate::{config::Config, home::Home};

/// Print the client settings as shell exports.
#[derive(Args, Debug)]
pub struct Env {
    #[command(flatten)]
    home: HomeOption,
    /// The profile of the credentials file to use.
    #[arg(long, default_value = "default")]
    profile: String,
}

impl Env {
    pub fn run(self) -> Result<(), Failure> {
        let home = self.home.home();
        let config = read_config(&home)?;
        print!("{}", exports(&home, &config, &self.profile));
        Ok(())
    }
}

/// The lines; credentials stay in their file, so that they are in no environment and no history.
pub fn exports(home: &Home, config: &Config, profile: &str) -> String {
    let running = fs::read_to_string(home.endpoint()).map(|text| text.trim().to_owned());
    let endpoint = running.unwrap_or_else(|_| config.endpoint(config.listen));
    let mut lines = vec![
        ("STRONGROOM_HOME", home.path().display().to_string()),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", config.region.to_string()),
        ("AWS_DEFAULT_REGION", config.region.to_string()),
        ("AWS_SHARED_CREDENTIALS_FILE", home.credentials().display().to_string()),
        ("AWS_PROFILE", profile.to_owned()),
        ("AWS_PAGER", String::new()),
    ];
    if config.tls_certificate == Some(home.tls_certificate()) {
        lines.push(("AWS_CA_BUNDLE", home.tls_authority().display().to_string()));
    }
    // Variables that would win over the file.
    let mut text = "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN\n".to_owned();
    for (name, value) in lines {
        text += &format!("export {name}={}\n", quote(&value));
    }
    text
}

/// Single quotes, as every shell reads them.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_name_the_file_and_never_the_secret() {
        let text = exports(&Home::at("/srv/o'home"), &Config::default(), "default");
        assert!(text.contains("export AWS_ENDPOINT_URL='http://127.0.0.1:7800'\n"));
        assert!(text.contains("export STRONGROOM_HOME='/srv/o'\\''home'\n"));
        assert!(!text.contains("SECRET_ACCESS_KEY="));
    }
}
