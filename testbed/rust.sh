# shellcheck shell=bash
# The Rust toolchain that rust-toolchain.toml names, with clippy and rustfmt.

ensure_rust() {
  local wanted
  wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$here/../rust-toolchain.toml")
  PATH=$HOME/.cargo/bin:$PATH
  if command -v rustup >/dev/null; then
    # The proxies that rustup puts on PATH follow rust-toolchain.toml by themselves once it is installed.
    rustup toolchain list | grep -q "^$wanted" || step "Rust $wanted" install_toolchain "$wanted"
  elif ! rust_is_new_enough "$wanted"; then
    step "rustup" install_rustup
    step "Rust $wanted" install_toolchain "$wanted"
  fi
}

# A Rust that did not come from rustup is as good, if it is no older.
rust_is_new_enough() {
  local version
  version=$(cargo --version 2>/dev/null | cut -d' ' -f2) && [ -n "$version" ] || return 1
  [ "$(printf '%s\n' "$1" "$version" | sort -V | head -1)" = "$1" ] && command -v cargo-clippy rustfmt >/dev/null
}

install_rustup() {
  curl --proto '=https' --tlsv1.2 --silent --show-error --fail --max-time 60 https://sh.rustup.rs --output "$RUN/rustup-init.sh" &&
    sh "$RUN/rustup-init.sh" -y --no-modify-path --profile minimal --default-toolchain none </dev/null && return
  # Debian packages it from 13 on.
  apt_install rustup
}

install_toolchain() { rustup toolchain install "$1" --profile minimal --component clippy --component rustfmt --no-self-update </dev/null; }
