//! A process for which the kernel lacks something: a filter of its system calls (`seccomp(2)`) answers for the kernel.

/// No ring can be made, as where `kernel.io_uring_disabled` forbids it.
pub fn io_uring() {
    answer(&[(NUMBER, libc::SYS_io_uring_setup as u32)], libc::EPERM);
}

/// No loop device is free, and none can be made.
pub fn free_loop_device() {
    const LOOP_CTL_GET_FREE: u32 = 0x4C82;
    answer(&[(NUMBER, libc::SYS_ioctl as u32), (SECOND_ARGUMENT, LOOP_CTL_GET_FREE)], libc::ENOSPC);
}

/// Each free loop device is taken by somebody else first.
pub fn quiet_loop_devices() {
    const LOOP_CONFIGURE: u32 = 0x4C0A;
    answer(&[(NUMBER, libc::SYS_ioctl as u32), (SECOND_ARGUMENT, LOOP_CONFIGURE)], libc::EBUSY);
}

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const SECOND_ARGUMENT: u32 = 24;

/// From now on a system call with these words fails with `error`.
fn answer(words: &[(u32, u32)], error: i32) {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let mut steps = Vec::new();
    for (index, (offset, value)) in words.iter().enumerate() {
        let to_the_end = 2 * (words.len() - index - 1) + 1;
        steps.push(step(LOAD_WORD, *offset, 0));
        steps.push(step(JUMP_IF_EQUAL, *value, to_the_end as u8));
    }
    steps.push(step(RETURN, libc::SECCOMP_RET_ERRNO | error as u32, 0));
    steps.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0));
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program is one of whole steps, which the kernel copies.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    assert_eq!(set, 0, "root may filter its own calls");
}
