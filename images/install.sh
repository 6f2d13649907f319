#!/bin/sh
# What the build stage of every image runs:
#   install.sh packages LIST    the environment in /opt/sightline, its bill of materials and licences
#   install.sh project          the project's wheel, laid out in /code so that it is a layer of its own
# /run/secrets/index holds the settings of the builder's package index, /run/secrets/ca its certificate authorities.
set -eu
umask 022
environment=/opt/sightline
tools=/build/tools

# A full disk is said at the end: some of what runs here fails without the reason.
finished() {
    status=$?
    free=$(df -Pm /build | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)
    if [ "$status" != 0 ] && [ "$free" -lt 100 ]; then
        echo "no space left on device: $free MB" >&2
    fi
}
trap finished EXIT

packages() {
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none)
    if [ "$version" != 3.11 ]; then
        echo "sightline: BASE_IMAGE has Python $version, expected Python 3.11 as python3. Choose another base." >&2
        exit 1
    fi
    if [ -s /run/secrets/index ]; then
        set -a
        . /run/secrets/index
        set +a
    fi
    if [ -s /run/secrets/ca ]; then
        export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca
    fi
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps -r /build/build.lock
    python3 -m venv --without-pip "$environment"
    "$tools/bin/uv" pip install --quiet --link-mode copy --compile-bytecode --python "$environment/bin/python" \
        --require-hashes --no-deps -r "$1"
    rm -f "$environment"/bin/activate* "$environment"/bin/Activate.ps1 "$environment/.lock"
    # A fifth of the data image: the packages' own tests, and the bytecode of two packages that no stage loads.
    site=$environment/lib/python3.11/site-packages
    find "$site" -depth -type d \( -name tests -o -name SelfTest -o -path '*/onnx/backend/test' \) -exec rm -r {} +
    find "$site" \( -name '*_test.py' -o -name '*_test.cpython-311.pyc' \) -delete
    find "$site" \( -path '*/databricks/*' -o -path '*/pygments/*' \) -name '*.pyc' -delete
    mkdir -p "$environment/share/licences"
    "$tools/bin/cyclonedx-py" requirements --output-reproducible --output-format JSON \
        --output-file "$environment/share/sbom.cdx.json" "$1"
    licences
}

# One folder for each package: its licence files, and what its metadata says of its licence.
licences() {
    for found in "$environment"/lib/python3.11/site-packages/*.dist-info; do
        folder="$environment/share/licences/$(basename "$found" .dist-info)"
        mkdir "$folder"
        grep -E '^(Name|Version|License|License-Expression|Classifier: License ::.*): ?' "$found/METADATA" \
            >"$folder/METADATA" || true
        cd "$found"
        find . -type f \( -iname '*licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'author*' \) \
            -exec cp --parents {} "$folder" \;
    done
}

project() {
    : >/build/README.md # the wheel wants one; the real one is not copied, so that an edit of it rebuilds nothing
    cd /build
    # Nothing but sources, whatever lies between them: TREES in orchestrate/images.py.
    find src pipelines -type f ! -name '*.py' ! -name '*.css' ! -name '*.j2' ! -name '*.yaml' -delete
    "$tools/bin/python" -m hatchling build -t wheel -d /build/dist
    "$tools/bin/uv" pip install --quiet --offline --no-deps --compile-bytecode --python "$environment/bin/python" \
        --prefix "/code$environment" /build/dist/*.whl
}

"$@"
