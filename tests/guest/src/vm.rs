//! One instance of a module, as one VM of a host.

use std::collections::{BTreeMap, BTreeSet};

use wasmi::{Config, Engine, Error, ExternType, Func, Instance, Linker, Module, Store, Val};

use crate::{
    abi::callback,
    guest::Stopped,
    host::{Context, Host},
    hostcalls,
    personality::{Personality, Stop},
};

/// Fuel of one entry. A callback that needs more has hung.
pub(crate) const FUEL: u64 = 2_000_000_000;

/// A module, compiled once, instantiated many times.
#[derive(Debug)]
pub struct GuestModule {
    engine: Engine,
    module: Module,
    personality: Personality,
    /// Exported functions.
    pub exports: BTreeSet<String>,
    /// Imported functions.
    pub imports: BTreeSet<String>,
}

/// Why a module cannot run in a host.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not a module, or one that needs what the host does not have.
    #[error("the module does not load: {0}")]
    Wasm(#[from] Error),
    /// The host starts and serves without the filter.
    #[error("the host does without the filter: export {0} is missing")]
    Export(&'static str),
    /// The host's process ends.
    #[error("the host's process ends: {0}")]
    Death(String),
}

/// A callback that did not return. Typed, so that a test tells a trap from the death of the whole gateway.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{callback}: {stop:?}")]
pub struct Failure {
    /// The callback.
    pub callback: &'static str,
    /// What happened.
    pub stop: Stop,
}

impl GuestModule {
    /// Compiles a module for a host.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(wasm: &[u8], personality: Personality) -> Result<Self, LoadError> {
        let mut config = Config::default();
        config.consume_fuel(true);
        config.set_max_cached_stacks(4);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm)?;
        let functions = |ty: &ExternType| matches!(ty, ExternType::Func(_));
        let exports: BTreeSet<String> = module
            .exports()
            .filter(|e| functions(e.ty()))
            .map(|e| e.name().to_owned())
            .collect();
        let imports: BTreeSet<String> = module.imports().map(|i| i.name().to_owned()).collect();
        for import in &imports {
            if let Err(Stop::Trap(why) | Stop::Death(why)) = personality.import(import) {
                return Err(LoadError::Death(why));
            }
        }
        let mut needed = personality.needed_exports().iter();
        if let Some(missing) = needed.find(|name| !exports.contains(**name)) {
            return Err(LoadError::Export(missing));
        }
        Ok(Self {
            engine,
            module,
            personality,
            exports,
            imports,
        })
    }

    /// The host it was compiled for.
    #[must_use]
    pub fn personality(&self) -> Personality {
        self.personality
    }
}

/// One instance.
pub struct Vm {
    store: Store<Host>,
    callbacks: BTreeMap<&'static str, Func>,
    instance: Instance,
}

/// Callbacks that the hosts here make.
const CALLBACKS: [&str; 13] = [
    callback::INITIALIZE,
    callback::CONTEXT_CREATE,
    callback::VM_START,
    callback::CONFIGURE,
    callback::TICK,
    callback::REQUEST_HEADERS,
    callback::REQUEST_BODY,
    callback::RESPONSE_HEADERS,
    callback::RESPONSE_BODY,
    callback::HTTP_CALL_RESPONSE,
    callback::DONE,
    callback::LOG,
    callback::DELETE,
];

impl Vm {
    /// Instantiates and initialises.
    ///
    /// # Errors
    /// When it cannot be instantiated, or its initialisation traps.
    pub fn start(module: &GuestModule, host: Host) -> Result<Self, LoadError> {
        let mut store = Store::new(&module.engine, host);
        store.limiter(|host| &mut host.limits);
        let mut linker = Linker::new(&module.engine);
        hostcalls::link(&module.module, &mut linker)?;
        store.set_fuel(FUEL)?;
        let instance = linker.instantiate_and_start(&mut store, &module.module)?;
        let mut vm = Self {
            callbacks: callbacks(&store, instance),
            instance,
            store,
        };
        vm.connect(instance)?;
        vm.call(callback::INITIALIZE, 0, &[])
            .map_err(|f| LoadError::Death(f.to_string()))?;
        Ok(vm)
    }

    fn connect(&mut self, instance: Instance) -> Result<(), LoadError> {
        let allocate = instance.get_typed_func(&self.store, callback::ALLOCATE)?;
        let memory = instance.get_memory(&self.store, "memory");
        let size = memory.map_or(0, |memory| memory.size(&self.store) * 65_536);
        let host = self.store.data_mut();
        host.allocate = Some(allocate);
        host.memory = memory;
        host.meter.memory = size;
        Ok(())
    }

    /// Enters the guest for `context`. A callback that is not exported is skipped where the host skips it (`None`), as
    /// is one without a result.
    ///
    /// # Errors
    /// When the guest traps or does what ends the gateway.
    pub fn call(
        &mut self,
        name: &'static str,
        context: u32,
        args: &[u32],
    ) -> Result<Option<u32>, Failure> {
        let failure = |stop| Failure {
            callback: name,
            stop,
        };
        let Some(function) = self.callbacks.get(name).copied() else {
            self.host()
                .personality
                .missing_callback(name)
                .map_err(failure)?;
            return Ok(None);
        };
        let host = self.store.data_mut();
        host.running = name;
        host.entries += 1;
        host.effective = context;
        let result = self.enter(function, args);
        self.account(name);
        result.map_err(|error| failure(stop_of(&error)))
    }

    fn enter(&mut self, function: Func, args: &[u32]) -> Result<Option<u32>, Error> {
        self.store.set_fuel(FUEL)?;
        let params: Vec<Val> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function.call(&mut self.store, &params, &mut results)?;
        Ok(results.first().and_then(Val::i32).map(i32::cast_unsigned))
    }

    fn account(&mut self, name: &'static str) {
        let fuel = FUEL - self.store.get_fuel().unwrap_or(0);
        let memory = self.store.data().memory;
        let memory = memory.map_or(0, |memory| memory.size(&self.store) * 65_536);
        let host = self.store.data_mut();
        host.running = "";
        host.meter.entry(name, fuel, memory);
    }

    /// The host's side.
    #[must_use]
    pub fn host(&self) -> &Host {
        self.store.data()
    }

    /// The host's side.
    pub fn host_mut(&mut self) -> &mut Host {
        self.store.data_mut()
    }

    /// Creates a context in the host and in the guest.
    ///
    /// # Errors
    /// As [`Vm::call`].
    pub fn create(&mut self, id: u32, context: Context) -> Result<(), Failure> {
        let parent = match &context {
            Context::Root(_) => 0,
            Context::Stream(exchange) => exchange.root,
        };
        self.host_mut().contexts.insert(id, context);
        self.call(callback::CONTEXT_CREATE, id, &[id, parent])
            .map(drop)
    }

    /// A number that the module answers under this name: its own counters, in builds for tests.
    pub fn number(&mut self, name: &str) -> Option<u32> {
        let function = self
            .instance
            .get_typed_func::<(), u32>(&self.store, name)
            .ok()?;
        self.store.set_fuel(FUEL).ok()?;
        function.call(&mut self.store, ()).ok()
    }

    /// Whether the module exports a callback.
    #[must_use]
    pub fn exports(&self, name: &str) -> bool {
        self.callbacks.contains_key(name)
    }
}

fn callbacks(store: &Store<Host>, instance: Instance) -> BTreeMap<&'static str, Func> {
    CALLBACKS
        .into_iter()
        .filter_map(|name| Some((name, instance.get_func(store, name)?)))
        .collect()
}

fn stop_of(error: &Error) -> Stop {
    match error.downcast_ref::<Stopped>() {
        Some(stopped) => stopped.0.clone(),
        None => Stop::Trap(error.to_string()),
    }
}
