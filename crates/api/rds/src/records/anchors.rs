//! Anchors of volumes, and the volumes that an operator accepts without.

use clusters::VolumeId;
use ids::Timestamp;
use sqlx::Row as _;

use super::{Edit, Error, Records};

/// The wish of an operator that a volume be taken as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Acceptance {
    pub reason: Option<String>,
    /// The user of the operating system who gave the command.
    pub operator: String,
    pub at: Timestamp,
}

impl Records {
    /// Where the log of a volume has stood.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn anchor(&self, volume: &VolumeId) -> Result<Option<Vec<u8>>, Error> {
        let found = sqlx::query("SELECT anchor FROM volume_anchors WHERE volume = $1")
            .bind(volume.as_str())
            .fetch_optional(self.store.read())
            .await?;
        Ok(found.map(|row| row.try_get("anchor")).transpose()?)
    }

    /// The acceptance of a volume that has still to be recorded.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn acceptance(&self, volume: &VolumeId) -> Result<Option<Acceptance>, Error> {
        let found = sqlx::query("SELECT reason, operator, at FROM volume_acceptances WHERE volume = $1")
            .bind(volume.as_str())
            .fetch_optional(self.store.read())
            .await?;
        let read = |row: sqlx::sqlite::SqliteRow| {
            Ok::<_, Error>(Acceptance {
                reason: row.try_get("reason")?,
                operator: row.try_get("operator")?,
                at: Timestamp::from_millis(row.try_get("at")?),
            })
        };
        found.map(read).transpose()
    }
}

impl Edit {
    /// Where the log of a volume has stood, as this change sees it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn anchor(&mut self, volume: &VolumeId) -> Result<Option<Vec<u8>>, Error> {
        let found = sqlx::query("SELECT anchor FROM volume_anchors WHERE volume = $1")
            .bind(volume.as_str())
            .fetch_optional(self.0.tx())
            .await?;
        Ok(found.map(|row| row.try_get("anchor")).transpose()?)
    }

    /// Keeps an anchor in the place of the one before.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn keep_anchor(
        &mut self,
        volume: &VolumeId,
        anchor: &[u8],
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO volume_anchors (volume, anchor, at) VALUES ($1, $2, $3) \
             ON CONFLICT (volume) DO UPDATE SET anchor = excluded.anchor, at = excluded.at",
        )
        .bind(volume.as_str())
        .bind(anchor)
        .bind(now.as_millis())
        .execute(self.0.tx())
        .await?;
        Ok(())
    }

    /// Forgets the anchor of a volume, and that it was to be accepted.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn forget_anchor(&mut self, volume: &VolumeId) -> Result<(), Error> {
        let both = [
            "DELETE FROM volume_anchors WHERE volume = $1",
            "DELETE FROM volume_acceptances WHERE volume = $1",
        ];
        for statement in both {
            sqlx::query(statement).bind(volume.as_str()).execute(self.0.tx()).await?;
        }
        Ok(())
    }
}
