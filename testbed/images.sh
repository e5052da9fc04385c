# shellcheck shell=bash
# The images, one directory each in images/: a Dockerfile, or a build.sh where a Dockerfile cannot say it. The head of that
# file says in comments what the bed must know:
#   # image: NAME…      its name; further names are tags of the same image. ${…} are entries of versions.env.
#   # files: NAME…      what it copies out of the bed: programs of bin/, files of share/
#   # needs: DIRECTORY… images that it contains, apart from the one it is FROM
#   # debian: PACKAGE   the Debian package whose version the tag claims
#   # part-of: node     only there for the node image: of no use where that one is pulled
#   # given: VARIABLE   made only when that variable names the file to copy
#   # with: WORD        made only when `bed up --with WORD` asks for it: laboratory, catalogue

# image_field DIRECTORY FIELD: the field's value, versions filled in.
image_field() {
  local value
  value=$(sed -n "s/^# $2: *//p" "$(image_recipe "$1")")
  eval "printf '%s' \"$value\""
}
image_recipe() { if [ -f "$here/images/$1/build.sh" ]; then echo "$here/images/$1/build.sh"; else echo "$here/images/$1/Dockerfile"; fi; }
image_name() { local names; names=$(image_field "$1" image) && echo "${names%% *}"; }

# image_parents DIRECTORY: the directories of the images that it is made from.
image_parents() {
  sed -n 's#^FROM testbed/\([a-z0-9-]*\).*#\1#p' "$(image_recipe "$1")"
  image_field "$1" needs
}

# wanted_images MODE: the directories of all that this machine needs.
wanted_images() {
  local path directory variable with
  for path in "$here"/images/*/; do
    directory=$(basename "$path")
    variable=$(image_field "$directory" given)
    if [ "$1" = pull ] && [ "$(image_field "$directory" part-of)" = node ]; then continue; fi
    with=$(image_field "$directory" with)
    if [ -n "$with" ] && [[ " ${with_images:-} " != *" $with "* ]]; then continue; fi
    if [ "$1" = build ] && [ -n "$variable" ] && [ ! -f "${!variable:-}" ]; then continue; fi
    echo "$directory"
  done
}

# ---- Stamps -----------------------------------------------------------------------------------------------------------------

declare -A image_stamps=() # of every image, by directory
declare -A present=()      # stamp of every image that the engine has, by name; - where it has none

# read_image_stamps DIRECTORY: into image_stamps, its parents' first. A stamp is the digest of the directory, the names, the
# checksums of the files copied, the versions that the recipe mentions (its comments too), and the parents' stamps.
read_image_stamps() {
  local parent parents text
  [ -z "${image_stamps[$1]:-}" ] || return 0
  parents=$(image_parents "$1")
  for parent in $parents; do read_image_stamps "$parent"; done
  text=$(<"$(image_recipe "$1")")
  image_stamps[$1]=$(
    {
      digest_files "images/$1"
      image_field "$1" image
      image_files_sums "$1"
      versions_in "$text"
      for parent in $parents; do echo "${image_stamps[$parent]}"; done
    } | digest
  )
}

# image_files DIRECTORY: paths of what it copies.
image_files() {
  local file variable
  for file in $(image_field "$1" files); do
    if [ -e "$BED/share/$file" ]; then echo "$BED/share/$file"; else echo "$bin/$file"; fi
  done
  variable=$(image_field "$1" given)
  [ -z "$variable" ] || echo "${!variable:-}"
}

# image_files_sums DIRECTORY: their checksums, as they were taken when the files were made.
image_files_sums() {
  local file variable
  for file in $(image_field "$1" files); do grep -hE " (bin|share)/$file\$" "$BED"/stamps/binaries/* 2>/dev/null || echo "missing $file"; done
  variable=$(image_field "$1" given)
  [ -z "$variable" ] || sha256sum "${!variable:-/dev/null}"
}

# read_present NAME…: asks the engine once for all of them.
read_present() {
  local names stamp name
  present=()
  while IFS='|' read -r names stamp; do
    for name in $names; do present[$name]=${stamp:--}; done
  done < <(docker image inspect --format "{{range .RepoTags}}{{.}} {{end}}|{{with .Config}}{{with .Labels}}{{index . \"$LABEL\"}}{{end}}{{end}}" "$@" 2>/dev/null || true)
}

# image_state DIRECTORY MODE: ok, stale or missing; needs both tables.
image_state() {
  local name state=ok mode=$2
  [[ $(image_name "$1") = testbed/* ]] && mode=build
  for name in $(image_field "$1" image); do
    case ${present[$name]:-} in
      '') state=missing && break ;;
      "${image_stamps[$1]}") ;;
      *) [ "$mode" = pull ] || state=stale ;;
    esac
  done
  echo "$state"
}

# ---- Making them ------------------------------------------------------------------------------------------------------------

# ensure_images MODE
ensure_images() {
  local directory directories names=()
  directories=$(wanted_images "$1")
  for directory in $directories; do
    # shellcheck disable=SC2207 # names have no blanks
    names+=($(image_field "$directory" image))
    read_image_stamps "$directory"
  done
  read_present "${names[@]}"
  for directory in $directories; do ensure_image "$directory" "$1"; done
}

# ensure_image DIRECTORY MODE: after its parents.
ensure_image() {
  local parent name
  [ "$(image_state "$1" "$2")" = ok ] && return
  name=$(image_name "$1")
  if [ "$2" = pull ] && [[ $name != testbed/* ]]; then
    step "pulling $name" docker pull --quiet "$name"
  elif [ "$2" = pull ] && [ "$1" = base ]; then
    step "pulling debian:$DEBIAN-slim" docker pull --quiet "debian:$DEBIAN-slim"
    docker build --quiet --label "$LABEL=${image_stamps[base]}" --tag testbed/base:latest - >/dev/null <<<"FROM debian:$DEBIAN-slim"
  else
    for parent in $(image_parents "$1"); do ensure_image "$parent" "$2"; done
    step "image $name" make_image "$1"
  fi
  for name in $(image_field "$1" image); do present[$name]=${image_stamps[$1]}; done
}

make_image() {
  local directory=$1 stamp=${image_stamps[$1]} names name
  read -ra names <<<"$(image_field "$directory" image)"
  if [ -f "$here/images/$directory/build.sh" ]; then
    # Sourced in a shell of its own; it sees $stamp, ${names[0]} and everything of the bed.
    # shellcheck disable=SC1090 # each is checked by itself
    (. "$here/images/$directory/build.sh")
  else
    build_dockerfile "$directory" "${names[0]}" "$stamp"
  fi
  for name in "${names[@]:1}"; do docker tag "${names[0]}" "$name"; done
  check_debian_version "$directory" "${names[0]}"
}

build_dockerfile() {
  local directory=$1 name=$2 stamp=$3 context=$BED/build/image-$1 file
  rm -rf "$context"
  mkdir -p "$context"
  cp -r "$here/images/$directory/." "$context/"
  # Labelled from the first line on, so that what the builder keeps of the lines between is known as ours, and goes when stale.
  sed -i "/^FROM /a LABEL $LABEL=$stamp" "$context/Dockerfile"
  for file in $(image_files "$directory"); do cp -L "$file" "$context/"; done
  # The classic builder: the other one is a plug-in that an engine of ours does not have. Host network, for apt.
  DOCKER_BUILDKIT=0 docker build --quiet --network host --tag "$name" "$context" >"$context.log" 2>&1 || {
    cat "$context.log" >&2
    fail "building $name failed"
  }
  rm -rf "$context" "$context.log"
}

# Debian's point releases move on. The image is good all the same, but its tag is not true any more.
check_debian_version() {
  local package version tag=${2##*:}
  package=$(image_field "$1" debian)
  [ -n "$package" ] || return 0
  version=$(docker run --rm --network none --entrypoint dpkg-query "$2" -W -f '${source:Upstream-Version}' "$package")
  version=${version#*:} version=${version%%+*} # neither Debian's epoch nor what it says of how it packed the source
  tag=${tag#v} tag=${tag%%-*}                  # nor the variant of an image
  [[ $version = "$tag" || $version = "$tag".* ]] || say "WARNING: Debian's $package is $version by now: set the tag $tag in versions.env right"
}

# import_root DIRECTORY NAME STAMP CHANGE…: a root file system as an image.
import_root() {
  local root=$1 name=$2 stamp=$3 change changes=()
  shift 3
  for change in "LABEL $LABEL=$stamp" "$@"; do changes+=(--change "$change"); done
  tar -C "$root" -c . | docker import "${changes[@]}" - "$name" >/dev/null
}

# debian_root PACKAGE…: prints where a minimal Debian with those packages is, made once per list of packages.
debian_root() {
  local packages root
  packages=$(IFS=, && echo "$*")
  root=$BED/rootfs/$(printf '%s' "$DEBIAN $packages" | digest)
  if [ ! -d "$root" ]; then
    rm -rf --one-file-system "$root.part"
    mkdir -p "$BED/rootfs"
    # Mounts of its own, so that a kill in the middle leaves none behind in the cache.
    unshare --mount debootstrap --variant=minbase --include="$packages" "$DEBIAN" "$root.part" >"$root.log" 2>&1 </dev/null || {
      tail -20 "$root.log" >&2
      fail "debootstrap failed (whole log: $root.log)"
    }
    rm -rf "$root.part"/var/cache/apt/archives/*.deb "$root.part"/var/lib/apt/lists/* "$root.part"/usr/share/{doc,man,locale}/*
    mv "$root.part" "$root"
  fi
  echo "$root"
}
