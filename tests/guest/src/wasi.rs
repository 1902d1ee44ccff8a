//! The few WASI functions that Rust's standard library needs.

use rand::Rng as _;
use wasmi::{Caller, Error, Linker};

use crate::{
    fault::Fault,
    guest::{Memory32 as _, Stopped},
    host::Host,
    personality::Stop,
};

const MODULE: &str = "wasi_snapshot_preview1";
const BADF: u32 = 8;
const FAULT: u32 = 21;
const NOSYS: u32 = 52;

/// Defines `name` if it is known.
pub(crate) fn define(linker: &mut Linker<Host>, name: &str) -> Result<(), Error> {
    match name {
        "args_sizes_get" => sizes(linker, "args_sizes_get")?,
        "environ_sizes_get" => sizes(linker, "environ_sizes_get")?,
        "args_get" => empty(linker, "args_get")?,
        "environ_get" => empty(linker, "environ_get")?,
        "random_get" => random_get(linker)?,
        "clock_time_get" => clock_time_get(linker)?,
        "fd_write" => fd_write(linker)?,
        "proc_exit" => proc_exit(linker)?,
        "sched_yield" => {
            linker.func_wrap(MODULE, name, |mut c: Caller<'_, Host>| {
                begin(&mut c, "sched_yield").unwrap_or(0)
            })?;
        }
        "fd_prestat_get" | "fd_fdstat_get" => {
            linker.func_wrap(MODULE, name, |_: Caller<'_, Host>, _: u32, _: u32| BADF)?;
        }
        "fd_prestat_dir_name" => {
            linker.func_wrap(
                MODULE,
                name,
                |_: Caller<'_, Host>, _: u32, _: u32, _: u32| BADF,
            )?;
        }
        "fd_close" => {
            linker.func_wrap(MODULE, name, |_: Caller<'_, Host>, _: u32| BADF)?;
        }
        "fd_seek" => {
            linker.func_wrap(
                MODULE,
                name,
                |_: Caller<'_, Host>, _: u32, _: u64, _: u32, _: u32| BADF,
            )?;
        }
        "fd_read" | "poll_oneoff" => {
            linker.func_wrap(
                MODULE,
                name,
                |_: Caller<'_, Host>, _: u32, _: u32, _: u32, _: u32| NOSYS,
            )?;
        }
        _ => {}
    }
    Ok(())
}

/// Counts the call; an errno when it is to fail.
fn begin(caller: &mut Caller<'_, Host>, name: &'static str) -> Option<u32> {
    match caller.data_mut().begin(name)? {
        Fault::Status(status) => Some(status % 77),
        Fault::Late(_) | Fault::Value(_) | Fault::Pointer { .. } => None,
    }
}

fn sizes(linker: &mut Linker<Host>, name: &'static str) -> Result<(), Error> {
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, count: u32, bytes: u32| {
            begin(&mut c, name).unwrap_or_else(|| {
                let done = c.write_u32(count, 0).and_then(|()| c.write_u32(bytes, 0));
                if done.is_some() { 0 } else { FAULT }
            })
        },
    )?;
    Ok(())
}

fn empty(linker: &mut Linker<Host>, name: &'static str) -> Result<(), Error> {
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, _: u32, _: u32| begin(&mut c, name).unwrap_or(0),
    )?;
    Ok(())
}

fn random_get(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "random_get";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, to: u32, len: u32| {
            begin(&mut c, name).unwrap_or_else(|| {
                let mut bytes = vec![0; len.min(1 << 20) as usize];
                c.data_mut().rng.fill_bytes(&mut bytes);
                if c.write(to, &bytes).is_some() {
                    0
                } else {
                    FAULT
                }
            })
        },
    )?;
    Ok(())
}

fn clock_time_get(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "clock_time_get";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, _: u32, _: u64, to: u32| {
            begin(&mut c, name).unwrap_or_else(|| {
                let now = c.data_mut().wall_clock();
                if c.write(to, &now.to_le_bytes()).is_some() {
                    0
                } else {
                    FAULT
                }
            })
        },
    )?;
    Ok(())
}

/// Standard output and error go to the log: a panic's message stands there.
fn fd_write(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "fd_write";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, _: u32, vectors: u32, count: u32, written: u32| {
            begin(&mut c, name).unwrap_or_else(|| {
                let mut text = Vec::new();
                for at in 0..count.min(1024) {
                    let vector = vectors.wrapping_add(at * 8);
                    let (Some(from), Some(len)) =
                        (c.read_u32(vector), c.read_u32(vector.wrapping_add(4)))
                    else {
                        return FAULT;
                    };
                    let Some(bytes) = c.read(from, len) else {
                        return FAULT;
                    };
                    text.extend_from_slice(&bytes);
                }
                let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
                c.data_mut()
                    .log_line(4, String::from_utf8_lossy(&text).into_owned());
                if c.write_u32(written, len).is_some() {
                    0
                } else {
                    FAULT
                }
            })
        },
    )?;
    Ok(())
}

fn proc_exit(linker: &mut Linker<Host>) -> Result<(), Error> {
    linker.func_wrap(
        MODULE,
        "proc_exit",
        |_: Caller<'_, Host>, code: u32| -> Result<(), Error> {
            Err(Error::host(Stopped(Stop::Trap(format!(
                "proc_exit({code})"
            )))))
        },
    )?;
    Ok(())
}
