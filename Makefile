# SHIVA's commands. Each works as root and, with sudo where it must install packages, as an
# ordinary user, on Debian 12 with a Rust toolchain.

# make demo SPAM=DIR sends the messages of DIR instead of the public corpus;
# make demo JSON=FILE also writes the report there as JSON.
SPAM ?=
JSON ?=

# make fuzz TIME=600 runs so many seconds in all, TARGET=session one target for all of them.
TIME = 600
TARGET =

export CARGO_TARGET_DIR := $(CURDIR)/target
export PATH := $(CURDIR)/target/tools/bin:$(PATH)
export SPAM JSON

SCRIPTS = $(shell grep -rlIE --exclude-dir=.git --exclude-dir=target '^.!/bin/(ba)?sh' .)
PAGES = $(wildcard man/*.[1-8])

.PHONY: help build deb demo run test system-test check fuzz advisories bench

help:
	@echo 'make build       build the programs into target/release'
	@echo 'make deb         build the Debian package into target/debian'
	@echo 'make demo        send real spam through both services and print the report'
	@echo '                 (SPAM=DIR: your own spam; JSON=FILE: the report as JSON, too)'
	@echo 'make run         run both services in the foreground until Ctrl-C'
	@echo 'make test        run the tests'
	@echo 'make system-test test the package in a booted Debian (as root)'
	@echo 'make check       formatting, lints, documentation, dependencies, man pages,'
	@echo '                 shell scripts, some seconds of fuzzing'
	@echo 'make fuzz        fuzz for ten minutes (TIME=SECONDS; TARGET=NAME: one target)'
	@echo 'make advisories  known holes in dependencies (needs the network)'
	@echo 'make bench       print the performance table'
	@echo '                 (RECORDS=N: so many in the main store on a server)'

build:
	tests/tools/install build
	cargo build --release --locked

# cargo-deb would call the changelog changelog.Debian.gz, as of a package that is not native.
deb: build
	tests/tools/install deb
	mkdir -p target/debian-assets
	debian/tools/copyright >target/debian-assets/copyright
	gzip -9n <debian/changelog >target/debian-assets/changelog.gz
	cargo deb --quiet --no-build --locked --deb-version "$$(dpkg-parsechangelog -S Version)"

demo: build
	tests/tools/install demo
	tests/tools/demo

run: build
	tests/tools/run

test:
	tests/tools/install test
	cargo test --locked --features failpoints

system-test: deb
	tests/tools/install system
	tests/system/run

check:
	tests/tools/install check
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --no-deps --lib --document-private-items
	cargo deny --locked --all-features check bans licenses sources
	tests/tools/lint-pages $(PAGES)
	debian/tools/changelog | diff -u debian/changelog -
	shellcheck $(SCRIPTS) completions/shiva.bash
	tests/tools/fuzz check

fuzz:
	tests/tools/install fuzz
	tests/tools/fuzz $(TIME) $(TARGET)

# Fetches the RustSec database from GitHub, which not every build machine reaches.
advisories:
	tests/tools/install check
	cargo deny --locked --all-features check advisories

bench: build
	tests/tools/install bench
	tests/bench/run
