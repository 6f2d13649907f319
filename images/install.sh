#!/bin/sh
# What the build stage of every image runs:
#   install.sh packages LIST    the environment in /opt/sightline, its bill of materials and licences
#   install.sh project IMAGE    the project's wheel, laid out in /code as a separate layer
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
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        echo "sightline: BASE_IMAGE has Python without venv and ensurepip, expected both. Install them in it (Debian:" \
            "python3-venv), or choose another base." >&2
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
    export PIP_NO_INPUT=1 # an index that wants a login is an error, no question
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --log /build/pip.log --disable-pip-version-check --require-hashes --no-deps \
        -r /build/build.lock || {
        grep -o 'Could not fetch URL.*' /build/pip.log >&2 || true # only the log says why an index gave nothing
        exit 1
    }
    python3 -m venv --without-pip "$environment"
    "$tools/bin/uv" pip install --quiet --link-mode copy --compile-bytecode --python "$environment/bin/python" \
        --require-hashes --no-deps -r "$1"
    rm -f "$environment"/bin/activate* "$environment"/bin/Activate.ps1 "$environment/.lock" "$environment"/*.txt \
        "$environment/bin/backend-test-tools" "$environment/bin/onnxruntime_test"
    # A fifth of the data image: the packages' own tests, what only a type checker or Cython reads, and the bytecode of
    # two packages that no stage loads.
    site=$environment/lib/python3.11/site-packages
    find "$site" -depth -type d \( -name tests -o -name SelfTest -o -path '*/onnx/backend/test' \
        -o -path '*/gitdb/test' -o -path '*/smmap/test' \) -exec rm -r {} +
    find "$site" \( -name '*_test.py' -o -name '*_test.cpython-311.pyc' \
        -o -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' \) -delete
    find "$site" \( -path '*/databricks/*' -o -path '*/pygments/*' \) -name '*.pyc' -delete
    mkdir -p "$environment/share/licences"
    "$tools/bin/cyclonedx-py" requirements --output-reproducible --output-format JSON \
        --output-file "$environment/share/sbom.cdx.json" "$1"
    licences
}

# One folder for each package: its licence files, beside its modules too, and what its metadata says of its licence.
# A package without such a file gives the notice at the head of a module.
licences() {
    cd "$site"
    for found in *.dist-info; do
        folder="$environment/share/licences/${found%.dist-info}"
        mkdir "$folder"
        (cd "$found" && find . -type f \( -ipath '*licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o \
            -iname 'author*' \) -exec cp --parents {} "$folder" \;)
        cut -d , -f 1 "$found/RECORD" | grep -v -e '\.dist-info/' -e '^\.\.' -e '\.py$' -e '\.pyc$' |
            grep -iE '(^|/)[^/]*(licen[cs]e|copying|notice|eula)[^/]*$' | while read -r file; do
            if [ -f "$file" ]; then cp --parents "$file" "$folder"; fi
        done
        if [ -z "$(find "$folder" -type f)" ]; then
            head=$(cut -d , -f 1 "$found/RECORD" | grep '\.py$' | grep -v '^\.\.' | xargs -r grep -l Copyright | head -n 1)
            if [ -n "$head" ]; then sed '/^[^#]/,$d' "$head" >"$folder/NOTICE"; fi
        fi
        grep -E '^(Name|Version|License|License-Expression|Classifier: License ::.*): ?' "$found/METADATA" \
            >"$folder/METADATA" || true
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
    share=/code$environment/share
    own=$(basename /build/dist/*.whl | cut -d - -f 1,2)
    mkdir -p "$share/licences/$own"
    cp /build/LICENSE "$share/licences/$own"
    PYTHONPATH=$(echo "/code$environment"/lib/python3.*/site-packages) "$environment/bin/python" /build/images/sbom.py \
        "$environment/share/sbom.cdx.json" "$1" "$share/sbom.cdx.json"
}

"$@"
