//! Access to the guest's memory and allocator from inside a host call.

use wasmi::{AsContext as _, Caller, Error};

use crate::{abi::Status, host::Host, personality::Stop};

/// A [`Stop`] on its way out of the guest.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) Stop);

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl wasmi::errors::HostError for Stopped {}

/// The guest's memory. `None` = the pointer does not lie in it; counted in `Meter::bad_pointers`.
pub(crate) trait Memory32 {
    fn read(&mut self, from: u32, len: u32) -> Option<Vec<u8>>;
    fn write(&mut self, to: u32, bytes: &[u8]) -> Option<()>;

    fn read_u32(&mut self, from: u32) -> Option<u32> {
        self.read(from, 4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn write_u32(&mut self, to: u32, value: u32) -> Option<()> {
        self.write(to, &value.to_le_bytes())
    }
}

impl Memory32 for Caller<'_, Host> {
    fn read(&mut self, from: u32, len: u32) -> Option<Vec<u8>> {
        let memory = self.data().memory?;
        let from = from as usize;
        let bytes = from
            .checked_add(len as usize)
            .and_then(|end| memory.data(self.as_context()).get(from..end))
            .map(<[u8]>::to_vec);
        if bytes.is_none() {
            self.data_mut().meter.bad_pointers += 1;
        }
        bytes
    }

    fn write(&mut self, to: u32, bytes: &[u8]) -> Option<()> {
        let memory = self.data().memory?;
        let done = memory.write(&mut *self, to as usize, bytes).ok();
        if done.is_none() {
            self.data_mut().meter.bad_pointers += 1;
        }
        done
    }
}

/// Hands bytes over as the hosts do: memory from the guest's allocator (none for zero bytes), then pointer and size.
pub(crate) fn hand_over(
    caller: &mut Caller<'_, Host>,
    bytes: &[u8],
    pointer_out: u32,
    size_out: u32,
) -> Result<Status, Error> {
    if let Some((at, size)) = caller.data().false_pointer {
        return Ok(tell(caller, at, size, pointer_out, size_out));
    }
    let mut pointer = 0;
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if size > 0 {
        let Some(allocate) = caller.data().allocate else {
            return Ok(Status::InternalFailure);
        };
        caller.data_mut().meter.allocation(size);
        pointer = allocate.call(&mut *caller, size)?;
        if pointer == 0 || caller.write(pointer, bytes).is_none() {
            return Ok(Status::InvalidMemoryAccess);
        }
    }
    Ok(tell(caller, pointer, size, pointer_out, size_out))
}

fn tell(
    caller: &mut Caller<'_, Host>,
    pointer: u32,
    size: u32,
    pointer_out: u32,
    size_out: u32,
) -> Status {
    let done = caller
        .write_u32(pointer_out, pointer)
        .and_then(|()| caller.write_u32(size_out, size));
    if done.is_some() {
        Status::Ok
    } else {
        Status::InvalidMemoryAccess
    }
}
