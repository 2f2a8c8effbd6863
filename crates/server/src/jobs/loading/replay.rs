//! Replays a log: entries of its base go to the sink, commands through the dispatcher.

use persist::Target;
use persist::rdb::{LoadOptions, LoadedEntry, Sink, Skipped, Version};
use resp::{Args, Output};

use super::batch::Present;
use super::functions;
use super::rdb_sink::{RdbSink, Rules, check_stopping, delay, load_options};
use crate::server::Server;
use engine::execute::{Execution, Executor, NO_WORKER, Request, Verdict, replay_session};
use engine::session::Session;
use engine::shard_tables::Locked;

/// Takes the files of a log. [`Replay::finish`] must be called at their end.
pub(crate) struct Replay<'a, 'k> {
    sink: RdbSink<'a, 'k>,
    /// Entries are in a batch that commands cannot see yet.
    unsettled: bool,
    exec: Executor,
    session: Session,
    out: Output,
    /// Commands run.
    commands: u64,
}

impl<'a, 'k> Replay<'a, 'k> {
    /// For a log that is loaded into `server`. With `held` these are all shards, locked; without,
    /// none of them is.
    pub(crate) fn new(server: &'a Server, held: Option<&'a mut Locked<'k>>) -> Self {
        // The commands behind the base remove the keys that have expired since.
        let rules = Rules {
            drop_expired: false,
            goes_on: None,
            present: Present::Refuse,
        };
        // Threads beyond the workers count with the first one.
        let worker = if held.is_some() { 0 } else { NO_WORKER };
        Self {
            sink: RdbSink::new(server, held, rules),
            unsettled: false,
            exec: Executor::new(&server.engine, server.handlers, worker),
            session: replay_session(&server.engine),
            out: Output::new(),
            commands: 0,
        }
    }

    /// The end of the log.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.unsettled) {
            self.sink.finish()?;
        }
        Ok(())
    }

    fn run(&mut self, args: Args<'_>) -> Result<(), String> {
        let server = self.sink.server();
        self.out.clear();
        let mut execution = Execution {
            exec: &mut self.exec,
            engine: &server.engine,
            session: &mut self.session,
            out: &mut self.out,
            right: None,
            turn: None,
        };
        if let Some(locked) = self.sink.held() {
            return execution.replay(args, locked);
        }
        match execution.request(&Request::new(&server.engine, args), &mut None) {
            Verdict::Failed(error) => Err(String::from_utf8_lossy(&error.text()).into_owned()),
            _ => Ok(()),
        }
    }
}

impl Sink for Replay<'_, '_> {
    #[inline]
    fn entry(&mut self, entry: LoadedEntry<'_>) -> Result<(), String> {
        self.unsettled = true;
        self.sink.entry(entry)
    }

    fn function(&mut self, code: &[u8]) -> Result<(), String> {
        self.unsettled = true;
        self.sink.function(code)
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        self.unsettled = true;
        self.sink.aux(name, value);
    }

    fn skipped(&mut self, db: u32, key: &[u8], why: Skipped) {
        self.sink.skipped(db, key, why);
    }

    fn recounted(&mut self, db: u32, key: &[u8], said: u64, counted: u64) {
        self.sink.recounted(db, key, said, counted);
    }

    fn version(&mut self, version: Version) {
        self.unsettled = true;
        self.sink.version(version);
    }

    fn progress(&mut self, bytes: u64) {
        // The base is the first file.
        self.sink.progress(bytes);
    }
}

impl Target for Replay<'_, '_> {
    fn command(&mut self, args: Args<'_>) -> Result<(), String> {
        self.finish()?;
        check_stopping(self.sink.server())?;
        let run = self.run(args);
        if let Err(failure) = run
            && !functions::keep(self.sink.server(), args)
        {
            return Err(failure);
        }
        self.commands += 1;
        delay(self.sink.server(), self.commands)
    }

    fn progress(&mut self, loaded: u64, total: u64) {
        keyspace::memory::publish();
        let loading = &self.sink.server().engine.loading;
        loading.set_total(total);
        loading.progress(loaded);
    }

    fn rdb_options(&self) -> LoadOptions {
        load_options(self.sink.server())
    }
}
