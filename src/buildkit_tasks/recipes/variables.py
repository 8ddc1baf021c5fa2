"""Variables of a compile stage: those that our step sets, and those that tools read."""

from __future__ import annotations

import re

#: Variables of a compile stage that our step sets itself, or that belong to another caching method.
OURS = frozenset(
    (
        *("CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_INCREMENTAL", "CARGO_BUILD_TARGET"),
        *("RUSTUP_HOME", "RUSTC_WRAPPER", "SCCACHE_DIR", "SCCACHE_CACHE_SIZE", "CARGO_NET_GIT_FETCH_WITH_CLI"),
        *("USER", "HOME", "BUILDKIT_INLINE_CACHE", "DEBIAN_FRONTEND"),
    )
)
#: Build arguments of our compile step.
ARGUMENTS = frozenset(("BINS", "PROFILE", "SOURCE", "BIN", "CACHE_SCOPE", "FEATURES", "NO_DEFAULT_FEATURES"))
#: Variables that cargo, rustc, C compilers or the build scripts of dependencies read.
TOOLS_READ = re.compile(
    r"(?:(?:HOST|TARGET)_)?(?:CC|CXX|AR|LD|RANLIB|C(?:XX|PP)?FLAGS|LDFLAGS|ARFLAGS)(?:_\w+)?"
    r"|CARGO_(?:PROFILE|BUILD|TARGET|NET|HTTP|REGISTR(?:Y|IES)|TERM|ENCODED)_\w+|RUST(?:C|DOC|UP|FLAGS|_BACKTRACE)\w*"
    r"|CMAKE\w*|MAKE(?:FLAGS)?|NUM_JOBS|PKG_CONFIG\w*|PROTOC(?:_INCLUDE)?|BINDGEN_\w+|LIBCLANG\w*|LLVM_CONFIG_PATH"
    r"|SQLX_\w+|DATABASE_URL|\w+_(?:LIB_DIR|INCLUDE_DIR|NO_VENDOR|NO_PKG_CONFIG|USE_PKG_CONFIG)|OPENSSL_\w+"
)
#: Arguments that BuildKit itself sets.
PLATFORM = re.compile(r"(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)")
