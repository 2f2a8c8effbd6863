//! A whole file: its opcodes, and the entries between them.

use super::error::{Place, RdbCause, RdbError};
use super::extras::{self, Extras};
use super::input::Input;
use super::kind::{self, Family};
use super::module;
use super::template::{self, Templates};
use super::value::{self, Context};
use crate::rdb::format::{self, opcode, types};
use crate::rdb::{Access, LoadOptions, LoadedEntry, Sink, Skipped, Version};
use keyspace::{NewValue, Value};
use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use values::Element;

/// The result of loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The version of the file.
    pub version: Version,
    /// Length of the RDB part in bytes; commands may follow it.
    pub bytes: u64,
}

/// Reads a whole file, from its signature to its checksum, and gives everything in it to `sink`. It
/// may read further than that from `input`.
///
/// # Errors
/// What is wrong, and where. Earlier entries are in the sink by then.
pub fn load(
    input: &mut dyn Read,
    options: &LoadOptions,
    sink: &mut dyn Sink,
) -> Result<Loaded, RdbError> {
    let sink = RefCell::new(sink);
    let mut watched = Watched {
        input,
        sink: &sink,
        bytes: 0,
    };
    let mut loading = Loading {
        input: Input::of_file(&mut watched, options.checksum, options.max_string),
        options,
        sink: &sink,
        version: Version(0),
        db: 0,
        key: Vec::new(),
        attributes: Attributes::default(),
        templates: Templates::new(),
        code: None,
    };
    match loading.run() {
        Ok(()) => Ok(Loaded {
            version: loading.version,
            bytes: loading.input.offset(),
        }),
        Err(cause) => Err(loading.error(cause)),
    }
}

/// The source; reports to the sink how far it was read.
// The sink is borrowed only during a call. Calls never nest, because the sink reads no bytes.
struct Watched<'a, 's> {
    input: &'a mut dyn Read,
    sink: &'a RefCell<&'s mut dyn Sink>,
    bytes: u64,
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        // A piece at a time, so that a long string reports progress too.
        let most = room.len().min(1 << 20);
        let count = self.input.read(room.get_mut(..most).unwrap_or_default())?;
        self.bytes += count as u64;
        if let Ok(mut sink) = self.sink.try_borrow_mut() {
            sink.progress(self.bytes);
        }
        Ok(count)
    }
}

/// Auxiliary fields of the next entry.
#[derive(Default)]
struct Attributes {
    deadline: Option<u64>,
    access: Access,
    extras: Extras,
}

struct Loading<'a, 's> {
    input: Input<'a>,
    options: &'a LoadOptions,
    sink: &'a RefCell<&'s mut dyn Sink>,
    version: Version,
    db: u32,
    key: Vec<u8>,
    attributes: Attributes,
    templates: Templates,
    /// The type of the value that is being read; `None` between entries.
    code: Option<u8>,
}

impl Loading<'_, '_> {
    fn run(&mut self) -> Result<(), RdbCause> {
        self.version = self.signature()?;
        self.tell(|sink| sink.version(self.version));
        loop {
            let code = self.input.byte()?;
            if code == opcode::EOF {
                return self.end();
            }
            if !self.opcode(code)? {
                self.entry(code)?;
            }
        }
    }

    fn error(&self, cause: RdbCause) -> RdbError {
        let place = self.code.map(|code| {
            Box::new(Place {
                db: self.db,
                key: self.key.as_slice().into(),
                code,
            })
        });
        RdbError {
            cause,
            offset: self.input.offset(),
            place,
        }
    }

    /// Calls the sink.
    fn tell<R>(&self, call: impl FnOnce(&mut dyn Sink) -> R) -> Option<R> {
        self.sink
            .try_borrow_mut()
            .ok()
            .map(|mut sink| call(&mut **sink))
    }

    fn signature(&mut self) -> Result<Version, RdbCause> {
        let head: [u8; 9] = self.input.array()?;
        let wrong = || RdbCause::Signature(head.escape_ascii().to_string());
        let (family, digits) = if let Some(digits) = head.strip_prefix(b"REDIS0") {
            (Family::Redis, digits)
        } else if let Some(digits) = head.strip_prefix(format::MAGIC_VALKEY) {
            (Family::Valkey, digits)
        } else {
            return Err(wrong());
        };
        let text = std::str::from_utf8(digits).ok();
        let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = text.and_then(|text| text.parse().ok());
        let version = Version(number.ok_or_else(wrong)?);
        let accepted = kind::is_accepted(version, self.options.any_version);
        match accepted && Family::of(version) == family {
            true => Ok(version),
            false => Err(RdbCause::Version(version.0)),
        }
    }

    /// The checksum, when there is one.
    fn end(&mut self) -> Result<(), RdbCause> {
        if self.version.0 < kind::CHECKSUM_SINCE {
            return Ok(());
        }
        let computed = self.input.checksum();
        let stored = u64::from_le_bytes(self.input.array()?);
        match computed {
            Some(computed) if stored != 0 && stored != computed => {
                Err(RdbCause::Checksum { computed, stored })
            }
            _ => Ok(()),
        }
    }

    /// Executes an opcode. False when `code` is the type of an entry instead.
    #[inline]
    fn opcode(&mut self, code: u8) -> Result<bool, RdbCause> {
        if code < kind::OPCODE_MIN {
            return Ok(false);
        }
        match code {
            opcode::EXPIRETIME_MS => {
                let deadline = i64::from_le_bytes(self.input.array()?);
                self.attributes.deadline = Some(absolute(deadline));
            }
            opcode::EXPIRETIME => {
                let seconds = i32::from_le_bytes(self.input.array()?);
                self.attributes.deadline = Some(absolute(i64::from(seconds) * 1000));
            }
            opcode::IDLE => self.attributes.access = Access::IdleSeconds(self.input.length()?),
            opcode::FREQ => self.attributes.access = Access::Frequency(self.input.byte()?),
            _ => self.rare_opcode(code)?,
        }
        Ok(true)
    }

    #[cold]
    fn rare_opcode(&mut self, code: u8) -> Result<(), RdbCause> {
        match code {
            opcode::SELECTDB => {
                let db = u32::try_from(self.input.length()?);
                self.db = db.map_err(|_| RdbCause::Malformed("no database has such a number"))?;
            }
            opcode::RESIZEDB => {
                let (keys, volatile) = (self.input.length()?, self.input.length()?);
                self.tell(|sink| sink.sizes(self.db, keys, volatile));
            }
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    self.input.length()?;
                }
            }
            opcode::AUX => self.aux()?,
            opcode::FUNCTION2 => {
                let code = self.input.string()?.to_vec();
                let taken = self.tell(|sink| sink.function(&code));
                taken.unwrap_or(Ok(())).map_err(RdbCause::Refused)?;
            }
            opcode::FUNCTION_PRE_GA => {
                return Err(RdbCause::Malformed(
                    "Pre-release function format not supported.",
                ));
            }
            opcode::MODULE_AUX => {
                module::skip_auxiliary(&mut self.input, self.options.skip_modules)?;
            }
            _ => self.own_opcode(code)?,
        }
        Ok(())
    }

    /// Opcodes that mean this in one family alone.
    fn own_opcode(&mut self, code: u8) -> Result<(), RdbCause> {
        match (Family::of(self.version), code) {
            (Family::Redis, template::TEMPLATE) => {
                template::define(&mut self.input, &mut self.templates)
            }
            (Family::Redis, template::KEY_META) => {
                module::skip_key_metadata(&mut self.input, self.options.skip_modules)
            }
            (Family::Valkey, opcode::SLOT_IMPORT) => {
                self.input.skip_string()?;
                for _ in 0..self.input.length()? {
                    self.input.length()?;
                    self.input.length()?;
                }
                Ok(())
            }
            _ => Err(RdbCause::Type {
                code,
                version: Some(self.version),
            }),
        }
    }

    fn aux(&mut self) -> Result<(), RdbCause> {
        let name = self.input.string()?.to_vec();
        let value = self.input.string()?.to_vec();
        if !self.attributes.extras.keep(&name, &value) {
            self.tell(|sink| sink.aux(&name, &value));
        }
        Ok(())
    }

    #[inline]
    fn entry(&mut self, code: u8) -> Result<(), RdbCause> {
        self.input.string_into(&mut self.key)?;
        self.code = Some(code);
        let attributes = std::mem::take(&mut self.attributes);
        let value = if code == types::STRING {
            if !attributes.extras.is_empty() {
                return Err(extras::NOT_OF_THIS);
            }
            match self.input.string()? {
                Element::Int(value) => NewValue::Int(value),
                Element::Bytes(bytes) => NewValue::Bytes(bytes),
            }
        } else {
            match self.value(code, &attributes.extras) {
                Ok(value) => NewValue::Owned(value),
                Err(cause) => return self.skip(cause),
            }
        };
        let entry = LoadedEntry {
            db: self.db,
            key: &self.key,
            value,
            deadline: attributes.deadline,
            access: attributes.access,
        };
        if let Ok(mut sink) = self.sink.try_borrow_mut() {
            sink.entry(entry).map_err(RdbCause::Refused)?;
        }
        self.code = None;
        Ok(())
    }

    /// A value of a type other than strings.
    fn value(&mut self, code: u8, extras: &Extras) -> Result<Value, RdbCause> {
        let context = Context {
            family: Family::of(self.version),
            options: self.options,
            templates: Some(&self.templates),
            recounted: Cell::new(None),
        };
        let mut value = value::read(&mut self.input, code, &context)?;
        if let Some((said, counted)) = context.recounted.get() {
            self.tell(|sink| sink.recounted(self.db, &self.key, said, counted));
        }
        extras.apply(&mut value, self.options.max_string)?;
        Ok(value)
    }

    /// Skips an entry that is not loaded, if the options allow it.
    fn skip(&mut self, cause: RdbCause) -> Result<(), RdbCause> {
        let why = match cause {
            RdbCause::Empty => Skipped::Empty,
            RdbCause::Module(name) if self.options.skip_modules => Skipped::Module(name),
            RdbCause::Type { code, .. } => {
                let version = Some(self.version);
                return Err(RdbCause::Type { code, version });
            }
            cause => return Err(cause),
        };
        self.tell(|sink| sink.skipped(self.db, &self.key, why));
        self.code = None;
        Ok(())
    }
}

/// A deadline; times before 1970 become 0, which has passed too.
fn absolute(deadline_ms: i64) -> u64 {
    u64::try_from(deadline_ms).unwrap_or(0)
}
