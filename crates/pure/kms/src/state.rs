//! Key states and what they permit: the table of spec/kms.md §9, cell by cell.

use serde::{Deserialize, Serialize};

/// The life of a key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum KeyState {
    Creating,
    Enabled,
    Disabled,
    PendingDeletion,
    PendingImport,
    PendingReplicaDeletion,
    Unavailable,
    Updating,
}

impl KeyState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Creating,
        Self::Enabled,
        Self::Disabled,
        Self::PendingDeletion,
        Self::PendingImport,
        Self::PendingReplicaDeletion,
        Self::Unavailable,
        Self::Updating,
    ];
}

/// Operations whose outcome depends on the state, grouped as the rows of the table are. Operations that any
/// state permits have no row here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Row {
    CancelDeletion,
    CreateAlias,
    CreateGrant,
    Cryptography,
    SwitchState,
    SwitchRotation,
    RotateOnDemand,
    ScheduleDeletion,
    /// Tags and description.
    Describe,
    /// The new target of UpdateAlias.
    AliasTarget,
    Replicate,
    UpdatePrimary,
    /// GetParametersForImport and ImportKeyMaterial, of keys that can have imported material.
    Import,
    DeleteMaterial,
}

/// Why the state does not permit it. `Display` follows the ARN of the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Blocked {
    /// `DisabledException`
    #[error("is disabled.")]
    Disabled,
    #[error("is pending deletion.")]
    PendingDeletion,
    #[error("is pending replica deletion.")]
    PendingReplicaDeletion,
    #[error("is not pending deletion.")]
    NotPendingDeletion,
    #[error("is pending import.")]
    PendingImport,
    #[error("is unavailable.")]
    Unavailable,
    #[error("is creating.")]
    Creating,
    #[error("is updating.")]
    Updating,
}

/// The table. Rotation of keys with other origins or specs is refused before this is asked.
///
/// # Errors
/// [`Blocked`] names the state in the way.
pub const fn permits(row: Row, state: KeyState) -> Result<(), Blocked> {
    use KeyState::{
        Creating, Disabled, Enabled, PendingDeletion, PendingImport, PendingReplicaDeletion, Unavailable,
        Updating,
    };
    match (row, state) {
        (Row::CancelDeletion, PendingDeletion | PendingReplicaDeletion) => Ok(()),
        (Row::CancelDeletion, _) => Err(Blocked::NotPendingDeletion),
        (Row::DeleteMaterial, Creating) => Err(Blocked::Creating),
        (Row::DeleteMaterial, Updating) => Err(Blocked::Updating),
        (Row::DeleteMaterial, _) => Ok(()),
        (_, Enabled) => Ok(()),
        (_, PendingDeletion) => Err(Blocked::PendingDeletion),
        (_, PendingReplicaDeletion) => Err(Blocked::PendingReplicaDeletion),
        (Row::CreateAlias | Row::Describe | Row::AliasTarget, _) => Ok(()),
        (Row::ScheduleDeletion, Updating) => Err(Blocked::Updating),
        (Row::ScheduleDeletion, _) => Ok(()),
        (_, Creating) => Err(Blocked::Creating),
        (Row::Import, _) => Ok(()),
        (Row::SwitchState, Disabled | Unavailable) => Ok(()),
        (Row::CreateGrant, Unavailable | Updating) => Ok(()),
        (Row::Cryptography | Row::UpdatePrimary, Updating) => Ok(()),
        (_, Disabled) => Err(Blocked::Disabled),
        (_, PendingImport) => Err(Blocked::PendingImport),
        (_, Unavailable) => Err(Blocked::Unavailable),
        (_, Updating) => Err(Blocked::Updating),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_cell_by_cell() {
        use Blocked as B;
        // Columns: Enabled, Disabled, PendingDeletion, PendingImport, Unavailable, Creating, Updating.
        let columns = [
            KeyState::Enabled,
            KeyState::Disabled,
            KeyState::PendingDeletion,
            KeyState::PendingImport,
            KeyState::Unavailable,
            KeyState::Creating,
            KeyState::Updating,
        ];
        let not = Err(B::NotPendingDeletion);
        let gone = Err(B::PendingDeletion);
        let (off, import, away, new, moving) = (
            Err(B::Disabled),
            Err(B::PendingImport),
            Err(B::Unavailable),
            Err(B::Creating),
            Err(B::Updating),
        );
        for (row, cells) in [
            (Row::CancelDeletion, [not, not, Ok(()), not, not, not, not]),
            (Row::CreateAlias, [Ok(()), Ok(()), gone, Ok(()), Ok(()), Ok(()), Ok(())]),
            (Row::CreateGrant, [Ok(()), off, gone, import, Ok(()), new, Ok(())]),
            (Row::Cryptography, [Ok(()), off, gone, import, away, new, Ok(())]),
            (Row::SwitchState, [Ok(()), Ok(()), gone, import, Ok(()), new, moving]),
            (Row::SwitchRotation, [Ok(()), off, gone, import, away, new, moving]),
            (Row::RotateOnDemand, [Ok(()), off, gone, import, away, new, moving]),
            (Row::ScheduleDeletion, [Ok(()), Ok(()), gone, Ok(()), Ok(()), Ok(()), moving]),
            (Row::Describe, [Ok(()), Ok(()), gone, Ok(()), Ok(()), Ok(()), Ok(())]),
            (Row::AliasTarget, [Ok(()), Ok(()), gone, Ok(()), Ok(()), Ok(()), Ok(())]),
            (Row::Replicate, [Ok(()), off, gone, import, away, new, moving]),
            (Row::UpdatePrimary, [Ok(()), off, gone, import, away, new, Ok(())]),
            (Row::Import, [Ok(()), Ok(()), gone, Ok(()), Ok(()), new, Ok(())]),
            (Row::DeleteMaterial, [Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), new, moving]),
        ] {
            for (state, cell) in columns.into_iter().zip(cells) {
                assert_eq!(permits(row, state), cell, "{row:?} {state:?}");
            }
            let replica = permits(row, KeyState::PendingReplicaDeletion);
            let pending = permits(row, KeyState::PendingDeletion);
            assert_eq!(replica, pending.map_err(|_| B::PendingReplicaDeletion), "{row:?}");
        }
    }
}
