//! Requests over io_uring, where the kernel can.

use std::fs;

use crate::Test;
use crate::instance::Volume;

pub const TESTS: &[Test] = &[("a_process_without_io_uring_serves_over_dev_fuse", falls_back)];

const SWITCH: &str = "/sys/module/fuse/parameters/enable_uring";

/// The kernel offers io_uring to FUSE servers; as before, once this is dropped.
pub struct Offered {
    before: String,
}

impl Offered {
    pub fn by_the_kernel() -> Result<Self, String> {
        let before = fs::read_to_string(SWITCH).map_err(|_| "the kernel cannot".to_owned())?;
        attach::offer_fuse_uring().map_err(|error| error.to_string())?;
        assert!(attach::kernel_support().fuse_uring);
        Ok(Self { before })
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        fs::write(SWITCH, &self.before).expect("as before");
    }
}

fn falls_back() {
    let volume = Volume::new();
    let mut instance = volume.start(&["no-io-uring"]).expect("attached");
    instance.must("files fill table 500 1");
    instance.must("files verify table 500 1");
    instance.unmount();
}
