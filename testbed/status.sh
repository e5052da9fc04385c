# shellcheck shell=bash
# What is there, what is stale, how large.

status() {
  local mode why group directory row='%-9s %8s  %s\n' names=()
  choose_mode
  if engine_answers; then
    printf 'engine    %s, %s\n' "$(docker version --format '{{.Server.Version}}')" "$(engine_owner)"
  else
    printf 'engine    none answers\n'
  fi
  printf 'mode      %s: %s\n' "$mode" "$why"
  printf 'cache     %s: %s\n\n' "$BED" "$(cache_sizes)"

  local groups=("${groups_build[@]}")
  [ "$mode" = pull ] && groups=("${groups_pull[@]}")
  # shellcheck disable=SC2059 # the format is a row of the table
  for group in "${groups[@]}" "${groups_optional[@]}"; do
    printf "$row" "$(group_state "$group")" "$(group_size "$group")" "${outputs[$group]//bin\//}"
  done
  echo

  for directory in $(wanted_images "$mode"); do
    # shellcheck disable=SC2207 # names have no blanks
    names+=($(image_field "$directory" image))
    read_image_stamps "$directory"
  done
  read_present "${names[@]}"
  # shellcheck disable=SC2059
  for directory in $(wanted_images "$mode"); do
    printf "$row" "$(image_state "$directory" "$mode")" "$(image_size "$directory")" "$(image_field "$directory" image)"
  done
}

engine_owner() {
  if engine_is_ours; then echo "the bed's own, process $(engine_pid || echo unknown), log $RUN/dockerd.log"; else echo "not the bed's"; fi
}

cache_sizes() {
  local directory
  for directory in bin rootfs docker; do
    [ -d "$BED/$directory" ] && printf '%s %s, ' "$directory" "$(du -sh "$BED/$directory" 2>/dev/null | cut -f1)"
  done
  printf 'free %s\n' "$(df -h --output=avail "$BED" 2>/dev/null | tail -1 | tr -d ' ')"
}

group_size() {
  # shellcheck disable=SC2086 # a list of paths
  (cd "$BED" && du -cLhs ${outputs[$1]} 2>/dev/null | tail -1 | cut -f1) || true
}

image_size() { docker image inspect --format '{{.Size}}' "$(image_name "$1")" 2>/dev/null | numfmt --to=iec 2>/dev/null || echo -; }
