#!/usr/bin/env bash
# Installs the programs that some tests need, from Debian's packages. Where it cannot, those tests are skipped and say why.
#
#   scripts/ci_packages.sh          as root, on Debian or Ubuntu; done in a second if all are there
#
# They are optional: `make test` and `make check` run without any of them.
set -uo pipefail

# A program that shows that the packages are there, and the packages.
PROGRAMS=(
    "tesseract    tesseract-ocr"                                                                        # OCR
    "soffice      libreoffice-writer-nogui libreoffice-calc-nogui libreoffice-impress-nogui"            # .doc, .ppt
    "initdb       postgresql"                                                                           # the catalog
    "chromium     chromium"                                                                             # the console
    "prometheus   prometheus"                                                                           # the monitoring
)
LOG="${TMPDIR:-/tmp}/llm-api-ci-packages.log"

has_program() {
    # Debian's PostgreSQL is not on PATH.
    command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

apt() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@" >>"$LOG" 2>&1 </dev/null; }

missing=()
for entry in "${PROGRAMS[@]}"; do
    read -r program packages <<<"$entry"
    has_program "$program" || missing+=("$packages")
done
[ "${#missing[@]}" -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Some tests will be skipped: as root, on Debian, install ${missing[*]}"
    exit 0
fi
SECONDS=0
: >"$LOG"
apt update
# One after the other, so that one that cannot be had leaves the others.
for packages in "${missing[@]}"; do
    # shellcheck disable=SC2086
    if apt install -y --no-install-recommends $packages; then
        echo "Installed $packages ($SECONDS s)"
    else
        echo "Some tests will be skipped: $packages could not be installed ($LOG)"
    fi
done
exit 0
