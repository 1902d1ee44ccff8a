//! The proxy-wasm host calls, each counted, each open to faults.

use wasmi::{Caller, Error, ExternType, Linker, Module, Val};

use crate::{
    abi::{Status, buffer, map, marshal_pairs, unmarshal_pairs},
    fault::Fault,
    guest::{Memory32 as _, Stopped, hand_over},
    host::{Context, Host, HttpCall, LOG_LINES},
    personality::Stop,
    vm::FUEL,
    wasi,
};

const MODULE: &str = "env";

/// Defines every import of the module that the hosts offer, and nothing else.
///
/// # Errors
/// When an import has another signature than the ABI gives it.
pub(crate) fn link(module: &Module, linker: &mut Linker<Host>) -> Result<(), Error> {
    for import in module.imports() {
        match import.module() {
            MODULE => define(linker, import.name(), import.ty())?,
            _ => wasi::define(linker, import.name())?,
        }
    }
    Ok(())
}

fn define(linker: &mut Linker<Host>, name: &str, ty: &ExternType) -> Result<(), Error> {
    match name {
        "proxy_log" => log(linker)?,
        "proxy_get_log_level" => get_log_level(linker)?,
        "proxy_get_current_time_nanoseconds" => get_time(linker)?,
        "proxy_set_tick_period_milliseconds" => set_tick_period(linker)?,
        "proxy_get_buffer_bytes" => get_buffer(linker)?,
        "proxy_get_header_map_pairs" => get_pairs(linker)?,
        "proxy_get_header_map_value" => get_header(linker)?,
        "proxy_get_property" => get_property(linker)?,
        "proxy_http_call" => http_call(linker)?,
        "proxy_set_effective_context" => set_effective_context(linker)?,
        _ => unsupported(linker, name, ty)?,
    }
    Ok(())
}

/// Counts the call, gives a drawn status back at once, else hands the drawn value (if any) to the call. What a drawn
/// pointer replaces is [`hand_over`]'s business.
fn serve(
    caller: &mut Caller<'_, Host>,
    name: &'static str,
    call: impl FnOnce(&mut Caller<'_, Host>, Option<Vec<u8>>) -> Result<Status, Error>,
) -> Result<u32, Error> {
    match caller.data_mut().begin(name) {
        Some(Fault::Status(status)) => Ok(status),
        Some(Fault::Late(status)) => call(caller, None).map(|_| status),
        Some(Fault::Value(value)) => call(caller, Some(value)).map(|status| status as u32),
        Some(Fault::Pointer { at, size }) => {
            caller.data_mut().false_pointer = Some((at, size));
            // A value, so that there is something to hand over; one byte is no time.
            let status = call(caller, Some(vec![0]))?;
            caller.data_mut().false_pointer = None;
            Ok(status as u32)
        }
        None => call(caller, None).map(|status| status as u32),
    }
}

fn stop<T>(result: Result<T, Stop>) -> Result<T, Error> {
    result.map_err(|stop| Error::host(Stopped(stop)))
}

fn written(done: Option<()>) -> Status {
    if done.is_some() {
        Status::Ok
    } else {
        Status::InvalidMemoryAccess
    }
}

impl Host {
    pub(crate) fn log_line(&mut self, level: u32, text: String) {
        if self.log.len() < LOG_LINES {
            self.log.push((level, text));
        }
    }

    fn buffer(&self, kind: u32) -> Option<Vec<u8>> {
        match kind {
            buffer::VM_CONFIGURATION => Some(self.vm_configuration.clone()),
            buffer::PLUGIN_CONFIGURATION => match self.effective()? {
                Context::Root(root) => Some(root.configuration.clone()),
                Context::Stream(_) => None,
            },
            buffer::HTTP_CALL_RESPONSE_BODY => Some(self.answer.as_ref()?.body.clone()),
            _ => None,
        }
    }

    fn headers(&self, kind: u32) -> Option<Vec<(String, String)>> {
        if kind == map::HTTP_CALL_RESPONSE_HEADERS {
            let answer = self.answer.as_ref()?;
            let failure = answer
                .dispatch_status
                .map(|s| (":dispatch_status".into(), s.into()));
            return Some(answer.headers.iter().cloned().chain(failure).collect());
        }
        let Context::Stream(exchange) = self.effective()? else {
            return None;
        };
        match kind {
            map::REQUEST_HEADERS => Some(vec![
                (":method".into(), "GET".into()),
                (":path".into(), "/".into()),
                (":authority".into(), "app.example".into()),
            ]),
            map::RESPONSE_HEADERS => {
                let code = exchange.request.ending.code()?;
                Some(vec![(":status".into(), code.to_string())])
            }
            _ => None,
        }
    }
}

fn log(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_log";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, level: u32, text: u32, len: u32| {
            serve(&mut c, name, |c, _| {
                let Some(text) = c.read(text, len) else {
                    return Ok(Status::InvalidMemoryAccess);
                };
                c.data_mut()
                    .log_line(level, String::from_utf8_lossy(&text).into_owned());
                Ok(Status::Ok)
            })
        },
    )?;
    Ok(())
}

fn get_log_level(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_get_log_level";
    linker.func_wrap(MODULE, name, move |mut c: Caller<'_, Host>, to: u32| {
        serve(&mut c, name, |c, _| Ok(written(c.write_u32(to, 2))))
    })?;
    Ok(())
}

fn get_time(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_get_current_time_nanoseconds";
    linker.func_wrap(MODULE, name, move |mut c: Caller<'_, Host>, to: u32| {
        serve(&mut c, name, |c, value| {
            let lie = value.and_then(|v| Some(u64::from_le_bytes(*v.first_chunk()?)));
            let worked = worked(c);
            let now = lie.unwrap_or_else(|| c.data_mut().wall_clock().saturating_add(worked));
            Ok(written(c.write(to, &now.to_le_bytes())))
        })
    })?;
    Ok(())
}

/// Nanoseconds that the running callback has taken, where work takes time.
fn worked(c: &Caller<'_, Host>) -> u64 {
    let Some(fuel_per_us) = c.data().fuel_per_us else {
        return 0;
    };
    let used = FUEL - c.get_fuel().unwrap_or(FUEL);
    used / fuel_per_us * 1_000
}

fn set_tick_period(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_set_tick_period_milliseconds";
    linker.func_wrap(MODULE, name, move |mut c: Caller<'_, Host>, period: u32| {
        serve(&mut c, name, |c, _| {
            let personality = c.data().personality;
            stop(personality.set_tick_period(c.data_mut(), period))
        })
    })?;
    Ok(())
}

fn get_buffer(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_get_buffer_bytes";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, kind: u32, start: u32, max: u32, pointer: u32, size: u32| {
            serve(&mut c, name, |c, value| {
                let Some(bytes) = value.or_else(|| c.data().buffer(kind)) else {
                    return Ok(Status::NotFound);
                };
                let Some(end) = start.checked_add(max) else {
                    return Ok(Status::BadArgument);
                };
                let end = bytes.len().min(end as usize);
                match bytes.get(start as usize..end) {
                    // As Envoy: nothing to give, nothing written.
                    Some([]) | None => Ok(Status::Ok),
                    Some(part) => hand_over(c, part, pointer, size),
                }
            })
        },
    )?;
    Ok(())
}

fn get_pairs(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_get_header_map_pairs";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, kind: u32, pointer: u32, size: u32| {
            serve(&mut c, name, |c, value| {
                let bytes =
                    value.or_else(|| c.data().headers(kind).map(|pairs| marshal_pairs(&pairs)));
                bytes.map_or(Ok(Status::BadArgument), |bytes| {
                    hand_over(c, &bytes, pointer, size)
                })
            })
        },
    )?;
    Ok(())
}

fn get_header(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_get_header_map_value";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, kind: u32, key: u32, len: u32, pointer: u32, size: u32| {
            serve(&mut c, name, |c, value| {
                let Some(key) = c.read(key, len) else {
                    return Ok(Status::InvalidMemoryAccess);
                };
                if let Some(value) = value {
                    return hand_over(c, &value, pointer, size);
                }
                let Some(pairs) = c.data().headers(kind) else {
                    return Ok(Status::BadArgument);
                };
                match pairs.iter().find(|(name, _)| name.as_bytes() == key) {
                    Some((_, value)) => hand_over(c, value.as_bytes(), pointer, size),
                    None => Ok(Status::NotFound),
                }
            })
        },
    )?;
    Ok(())
}

fn get_property(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_get_property";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, path: u32, len: u32, pointer: u32, size: u32| {
            serve(&mut c, name, |c, value| {
                let Some(path) = c.read(path, len) else {
                    return Ok(Status::InvalidMemoryAccess);
                };
                c.data_mut().meter.attribute(&path);
                let personality = c.data().personality;
                // What kills, kills, whatever the drawn value.
                let truth = stop(personality.property(c.data_mut(), &path))?;
                match value.map_or(truth, Ok) {
                    Ok(bytes) => hand_over(c, &bytes, pointer, size),
                    Err(status) => Ok(status),
                }
            })
        },
    )?;
    Ok(())
}

fn http_call(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_http_call";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>,
              upstream: u32,
              upstream_len: u32,
              headers: u32,
              headers_len: u32,
              body: u32,
              body_len: u32,
              trailers: u32,
              trailers_len: u32,
              timeout_ms: u32,
              token: u32| {
            serve(&mut c, name, |c, _| {
                let parts = (
                    c.read(upstream, upstream_len),
                    c.read(headers, headers_len),
                    c.read(body, body_len),
                    c.read(trailers, trailers_len),
                );
                let (Some(upstream), Some(headers), Some(body), Some(_)) = parts else {
                    return Ok(Status::InvalidMemoryAccess);
                };
                let upstream = String::from_utf8_lossy(&upstream).into_owned();
                let call = (upstream, unmarshal_pairs(&headers), body, timeout_ms);
                dispatch(c, call, token)
            })
        },
    )?;
    Ok(())
}

type Dispatch = (String, Option<Vec<(String, String)>>, Vec<u8>, u32);

fn dispatch(c: &mut Caller<'_, Host>, call: Dispatch, token_out: u32) -> Result<Status, Error> {
    let (upstream, headers, body, timeout_ms) = call;
    let personality = c.data().personality;
    let status = stop(personality.dispatch(c.data(), &upstream))?;
    let Some(headers) = headers else {
        return Ok(Status::BadArgument);
    };
    let needed = [":method", ":path", ":authority"];
    let complete = needed
        .iter()
        .all(|need| headers.iter().any(|(name, _)| name == need));
    if status != Status::Ok || !complete {
        return Ok(if complete {
            status
        } else {
            Status::BadArgument
        });
    }
    if c.data().refuse_dispatch {
        return Ok(Status::InternalFailure);
    }
    let host = c.data_mut();
    let token = host.next_token;
    host.next_token += 1;
    let context = host.effective;
    host.dispatched.push(HttpCall {
        token,
        context,
        upstream,
        headers,
        body,
        timeout_ms,
    });
    Ok(written(c.write_u32(token_out, token)))
}

fn set_effective_context(linker: &mut Linker<Host>) -> Result<(), Error> {
    let name = "proxy_set_effective_context";
    linker.func_wrap(
        MODULE,
        name,
        move |mut c: Caller<'_, Host>, context: u32| {
            serve(&mut c, name, |c, _| {
                if !c.data().contexts.contains_key(&context) {
                    return Ok(Status::BadArgument);
                }
                c.data_mut().effective = context;
                Ok(Status::Ok)
            })
        },
    )?;
    Ok(())
}

/// A call of the ABI that a filter which only watches has no business making: noted, answered as the host would.
fn unsupported(linker: &mut Linker<Host>, name: &str, ty: &ExternType) -> Result<(), Error> {
    let (ExternType::Func(ty), true) = (ty, name.starts_with("proxy_")) else {
        return Ok(());
    };
    let own = name.to_owned();
    linker.func_new(
        MODULE,
        name,
        ty.clone(),
        move |mut c: Caller<'_, Host>, _, results| {
            let host = c.data_mut();
            host.begin("unsupported");
            host.meddled.push(own.clone());
            let status = stop(host.personality.unsupported(&own))?;
            if let [result] = results {
                *result = Val::I32(i32::try_from(status as u32).unwrap_or(i32::MAX));
            }
            Ok(())
        },
    )?;
    Ok(())
}
