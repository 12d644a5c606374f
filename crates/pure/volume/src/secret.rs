//! The key of a volume in the clear.

use std::fmt;

use ids::Entropy;
use zeroize::ZeroizeOnDrop;

/// The 256-bit key of a volume, in the clear. Wiped on drop; no `Clone`, no `==`, no serde.
#[derive(ZeroizeOnDrop)]
pub struct VolumeKey(Box<[u8; 32]>); // boxed: a move copies the pointer, not the key

impl VolumeKey {
    /// Takes a key over from a buffer that its owner wipes; `None` unless it has 32 bytes.
    pub fn copy_from(bytes: &[u8]) -> Option<Self> {
        let mut key = Self(Box::new([0; 32]));
        (bytes.len() == key.0.len()).then(|| {
            key.0.copy_from_slice(bytes);
            key
        })
    }

    /// Fills a key where it will live.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut key = Self(Box::new([0; 32]));
        entropy.fill(&mut *key.0);
        key
    }

    /// The only door to the bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The keys that an opener has for a volume: one for each generation that it still needs, in any order. Others are
/// ignored.
#[derive(Debug, Default)]
pub struct Keys(pub(crate) Vec<VolumeKey>);

impl Keys {
    /// The same keys once more, for another look at a header.
    pub(crate) fn again(&self) -> Self {
        Self(self.0.iter().filter_map(|key| VolumeKey::copy_from(key.expose())).collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &VolumeKey> {
        self.0.iter()
    }
}

impl From<VolumeKey> for Keys {
    fn from(key: VolumeKey) -> Self {
        Self(vec![key])
    }
}

impl From<Vec<VolumeKey>> for Keys {
    fn from(keys: Vec<VolumeKey>) -> Self {
        Self(keys)
    }
}

impl fmt::Debug for VolumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VolumeKey(redacted)")
    }
}
