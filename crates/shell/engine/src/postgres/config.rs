//! The files that configure PostgreSQL, made anew for every start, outside the volume.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use super::{ADMIN, parameters::FORCE_SSL};

/// What the configuration depends on.
#[derive(Debug)]
pub struct Config<'a> {
    pub port: u16,
    /// Bytes of memory that this machine has for databases.
    pub memory: u64,
    /// Checked already: [`super::parameters::check`].
    pub parameters: &'a BTreeMap<String, String>,
}

/// Settings that nothing may override, not even the data directory's own files: they are given on the command line.
/// Paths are relative to the data directory.
pub const fn fixed(atomic_pages: bool) -> [(&'static str, &'static str); 11] {
    [
        ("fsync", "on"),
        ("full_page_writes", if atomic_pages { "off" } else { "on" }),
        ("data_sync_retry", "off"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_permissions", "0700"),
        ("external_pid_file", ""),
        ("ssl", "on"),
        ("ssl_cert_file", "../tls/server.crt"),
        ("ssl_key_file", "../tls/server.key"),
        ("password_encryption", "scram-sha-256"),
        ("logging_collector", "on"),
    ]
}

const MIB: u64 = 1 << 20;

impl Config<'_> {
    /// `postgresql.conf`: later lines win, so the owner's come last.
    pub fn postgresql_conf(&self) -> String {
        let shared_buffers = (self.memory / 4).clamp(128 * MIB, 4096 * MIB) / MIB;
        let cache = (self.memory / 2).max(256 * MIB) / MIB;
        // Aurora's rule, up to what one machine serves well.
        let connections = (self.memory / 9_531_392).clamp(100, 500);
        let mut text = String::new();
        let mut set = |name: &str, value: &str| {
            let quoted = value.replace('\\', "\\\\").replace('\'', "''");
            writeln!(text, "{name} = '{quoted}'").expect("a string takes all");
        };
        set("port", &self.port.to_string());
        set("max_connections", &connections.to_string());
        set("shared_buffers", &format!("{shared_buffers}MB"));
        set("effective_cache_size", &format!("{cache}MB"));
        set("maintenance_work_mem", &format!("{}MB", (self.memory / 64).clamp(64 * MIB, 1024 * MIB) / MIB));
        set("max_wal_size", "2GB");
        set("min_wal_size", "256MB");
        set("wal_compression", "on");
        set("checkpoint_timeout", "5min");
        // A checkpoint writes a file for them, and the database ends if there is no room for that.
        set("max_replication_slots", "0");
        set("random_page_cost", "1.1");
        set("timezone", "UTC");
        set("log_timezone", "UTC");
        // A week of logs, inside the volume: a file for each day of the week, begun anew when the day comes again.
        set("log_directory", "../log");
        set("log_filename", "postgresql-%u.log");
        set("log_truncate_on_rotation", "on");
        set("log_rotation_age", "1d");
        set("log_rotation_size", "0");
        set("log_line_prefix", "%m [%p] %q%u@%d ");
        for (name, value) in self.parameters.iter().filter(|(name, _)| *name != FORCE_SSL) {
            set(name, value);
        }
        text
    }

    /// `pg_hba.conf`: our own user comes through the private socket, as root; everybody else through TCP, by password.
    pub fn pg_hba_conf(&self) -> String {
        let host =
            if self.parameters.get(FORCE_SSL).is_some_and(|value| value == "1") { "hostssl" } else { "host" };
        format!(
            "local all {ADMIN} peer map=own\n\
             local all all reject\n\
             host all {ADMIN} all reject\n\
             {host} all all 127.0.0.1/32 scram-sha-256\n"
        )
    }

    /// `pg_ident.conf`: root is the administrator.
    pub fn pg_ident_conf() -> String {
        format!("own root {ADMIN}\n")
    }
}

/// Bytes of memory that this process may use: the machine's, or less where a control group says so.
pub fn memory() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let group =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.unwrap_or(1024 * MIB).min(group.unwrap_or(u64::MAX))
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(parameters: &BTreeMap<String, String>, memory: u64) -> Config<'_> {
        Config { port: 5432, memory, parameters }
    }

    #[test]
    fn an_owners_value_comes_after_the_default_and_cannot_leave_its_line() {
        let parameters = BTreeMap::from([
            ("shared_buffers".to_owned(), "64MB".to_owned()),
            ("search_path".to_owned(), "a', b\\".to_owned()),
        ]);
        let text = config(&parameters, 1 << 30).postgresql_conf();
        assert!(text.find("shared_buffers = '256MB'") < text.find("shared_buffers = '64MB'"));
        assert!(text.contains("search_path = 'a'', b\\\\'\n"));
    }

    #[test]
    fn memory_is_a_quarter_within_bounds() {
        let none = BTreeMap::new();
        for (memory, expected) in [(0, "128MB"), (2 << 30, "512MB"), (1 << 40, "4096MB")] {
            let line = format!("shared_buffers = '{expected}'\n");
            assert!(config(&none, memory).postgresql_conf().contains(&line));
        }
        assert_eq!(total_of("MemTotal:       24684204 kB\nMemFree: 1 kB\n"), Some(24_684_204 * 1024));
        assert_eq!(total_of("nothing"), None);
    }

    #[test]
    fn whole_pages_are_logged_unless_the_volume_writes_them_atomically() {
        assert!(fixed(true).contains(&("full_page_writes", "off")));
        assert!(fixed(false).contains(&("full_page_writes", "on")));
    }

    #[test]
    fn connections_without_tls_are_refused_where_that_is_wished() {
        let none = BTreeMap::new();
        assert!(config(&none, 0).pg_hba_conf().ends_with("\nhost all all 127.0.0.1/32 scram-sha-256\n"));
        let forced = BTreeMap::from([(FORCE_SSL.to_owned(), "1".to_owned())]);
        let forced = config(&forced, 0);
        assert!(forced.pg_hba_conf().ends_with("\nhostssl all all 127.0.0.1/32 scram-sha-256\n"));
        assert!(!forced.postgresql_conf().contains("rds"));
    }
}
