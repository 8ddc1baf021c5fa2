"""The command line: one function per task. Bodies import late to keep `--list` fast."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.main import program as invoke_command

from . import (
    adopt,
    audit,
    build,
    builder,
    cache,
    cargo,
    ci,
    database,
    doctor,
    engine,
    help_page,
    hooks,
    images,
    lint,
    project,
    services,
    shell,
    stack,
    typed,
    watch,
)

namespace = Collection(
    *(project.quickstart, build.build, build.explain, build.history, build.verify, build.bench),
    *(stack.up, stack.down, stack.restart, stack.ps, stack.logs, stack.shell, stack.smoke, stack.prune),
    *(stack.run, stack.extract, stack.clean, watch.watch, watch.dev),
    *(adopt.init, adopt.import_makefile, project.dotenv, project.settings),
    *(doctor.doctor, shell.enable_buildkit, shell.env, shell.completion),
    *(lint.lint, audit.audit),
)
namespace.add_collection(Collection.from_module(engine))
namespace.add_collection(Collection.from_module(images))
namespace.add_collection(Collection.from_module(cache))
namespace.add_collection(Collection.from_module(builder))
namespace.add_collection(Collection.from_module(cargo))
namespace.add_collection(Collection.from_module(database, name="db"))
namespace.add_collection(Collection.from_module(services))
namespace.add_collection(Collection.from_module(hooks))
namespace.add_collection(Collection.from_module(ci))

typed.attach(invoke_command)
help_page.attach(invoke_command)
