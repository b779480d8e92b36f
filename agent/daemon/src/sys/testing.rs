//! For tests: the real shim, built if need be.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// The shim's path in the folder where this test was built.
pub(crate) fn shim_exe() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let test = std::env::current_exe().expect("this test's path");
            let exe = test
                .ancestors()
                .nth(2)
                .expect("the target folder")
                .join("hokku-shim");
            if let Some(cargo) = option_env!("CARGO") {
                let built = Command::new(cargo)
                    .args(["build", "--quiet", "--offline", "-p", "hokku-shim"])
                    .current_dir(env!("CARGO_MANIFEST_DIR"))
                    .status();
                assert!(
                    built.is_ok_and(|s| s.success()) || exe.exists(),
                    "can't build hokku-shim"
                );
            }
            exe
        })
        .clone()
}
