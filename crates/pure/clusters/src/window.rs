//! Backup and maintenance windows: `hh24:mi-hh24:mi` and `ddd:hh24:mi-ddd:hh24:mi`, in UTC (spec/rds.md §8).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const DAY: u16 = 24 * 60;
const WEEK: u16 = 7 * DAY;
const SHORTEST: u16 = 30;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The text is not a window. `Display` is what the caller reads.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidWindow {
    #[error(
        "Invalid backup window format: {0}. Should be specified as a range hh24:mi-hh24:mi (24H Clock UTC)."
    )]
    Backup(String),
    #[error(
        "Invalid maintenance window format: {0}. Should be specified as a range ddd:hh24:mi-ddd:hh24:mi (24H Clock UTC)."
    )]
    Maintenance(String),
    #[error("The backup window must be at least 30 minutes.")]
    ShortBackup,
    #[error("The maintenance window must be at least 30 minutes.")]
    ShortMaintenance,
}

/// When backups are taken, every day. Minutes of the day; the end may lie on the next day.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct BackupWindow {
    start: u16,
    length: u16,
}

/// When maintenance happens, every week. Minutes of the week from Monday 00:00.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    start: u16,
    length: u16,
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number =
        |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<u16>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

fn clock(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

impl BackupWindow {
    /// The window that a cluster has when none is asked for.
    pub const DEFAULT: Self = Self { start: 3 * 60, length: 30 };
}

impl MaintenanceWindow {
    /// The window that a cluster has when none is asked for: Sunday 05:00.
    pub const DEFAULT: Self = Self { start: 6 * DAY + 5 * 60, length: 30 };
}

impl FromStr for BackupWindow {
    type Err = InvalidWindow;
    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let bad = || InvalidWindow::Backup(text.into());
        let (start, end) = text.split_once('-').ok_or_else(bad)?;
        let (start, end) = (minutes(start).ok_or_else(bad)?, minutes(end).ok_or_else(bad)?);
        let length = (end + DAY - start) % DAY;
        if length < SHORTEST { Err(InvalidWindow::ShortBackup) } else { Ok(Self { start, length }) }
    }
}

impl FromStr for MaintenanceWindow {
    type Err = InvalidWindow;
    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let bad = || InvalidWindow::Maintenance(text.into());
        let at = |text: &str| {
            let (day, time) = text.split_once(':')?;
            let day = DAYS.iter().position(|d| d.eq_ignore_ascii_case(day))?;
            Some(u16::try_from(day).ok()? * DAY + minutes(time)?)
        };
        let (start, end) = text.split_once('-').ok_or_else(bad)?;
        let (start, end) = (at(start).ok_or_else(bad)?, at(end).ok_or_else(bad)?);
        let length = (end + WEEK - start) % WEEK;
        if length < SHORTEST { Err(InvalidWindow::ShortMaintenance) } else { Ok(Self { start, length }) }
    }
}

impl fmt::Display for BackupWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", clock(self.start), clock((self.start + self.length) % DAY))
    }
}

impl fmt::Display for MaintenanceWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |m: u16| format!("{}:{}", DAYS[usize::from(m / DAY)], clock(m % DAY));
        write!(f, "{}-{}", at(self.start), at((self.start + self.length) % WEEK))
    }
}

/// Do the two windows ever meet?
pub fn overlap(backup: &BackupWindow, maintenance: &MaintenanceWindow) -> bool {
    (0..7).any(|day| {
        let start = day * DAY + backup.start;
        let apart = |from: u16, to: u16| (to + WEEK - from) % WEEK;
        apart(start, maintenance.start) < backup.length
            || apart(maintenance.start, start) < maintenance.length
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_read_and_write() {
        for text in ["03:00-03:30", "23:45-00:15"] {
            assert_eq!(text.parse::<BackupWindow>().unwrap().to_string(), text);
        }
        for text in ["sun:05:00-sun:05:30", "sun:23:45-mon:00:15"] {
            assert_eq!(text.parse::<MaintenanceWindow>().unwrap().to_string(), text);
        }
        for bad in ["", "3:00-4:00", "03:00", "24:00-01:00", "03:00-03:60", "+3:00-04:00", "03:00-03:29"] {
            assert!(bad.parse::<BackupWindow>().is_err(), "{bad}");
        }
        for bad in ["", "03:00-04:00", "xyz:03:00-mon:04:00", "mon:03:00-mon:03:10"] {
            assert!(bad.parse::<MaintenanceWindow>().is_err(), "{bad}");
        }
    }

    #[test]
    fn windows_that_meet_overlap() {
        let maintenance = "mon:03:00-mon:04:00".parse().unwrap();
        for (backup, meets) in
            [("03:30-04:30", true), ("02:00-03:00", false), ("04:00-05:00", false), ("02:00-03:01", true)]
        {
            assert_eq!(overlap(&backup.parse().unwrap(), &maintenance), meets, "{backup}");
        }
        assert!(!overlap(&BackupWindow::DEFAULT, &MaintenanceWindow::DEFAULT));
    }
}
