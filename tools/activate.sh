# Source this (bash, zsh) to use the clone from a shell:   . tools/activate.sh
# It activates .venv, the ROS 2 in it (or the one already sourced) and the built package.
# Everything that would otherwise be written to the home folder goes into the clone.

if [ -n "${BASH_VERSION:-}" ]; then _instascene_file="${BASH_SOURCE[0]}"; else _instascene_file="${(%):-%x}"; fi
INSTASCENE_ROOT="$(cd "$(dirname "$_instascene_file")/.." && pwd)"
export INSTASCENE_ROOT

if [ ! -f "$INSTASCENE_ROOT/.venv/bin/activate" ]; then
  echo "instascene: there is no $INSTASCENE_ROOT/.venv yet; run 'make setup' first." >&2
else
  . "$INSTASCENE_ROOT/.venv/bin/activate"
  _instascene_shell="bash"; [ -n "${ZSH_VERSION:-}" ] && _instascene_shell="zsh"
  if [ -f "$INSTASCENE_ROOT/.venv/setup.bash" ]; then
    # The wheels restart every Python with a library path of their own unless this is set; that
    # path would lack venv/lib once a set-up file has been sourced, so it is made complete here.
    export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
    . "$INSTASCENE_ROOT/.venv/setup.$_instascene_shell"
    for _instascene_libs in "$INSTASCENE_ROOT"/.venv/lib/python3*/site-packages/ros_*.libs; do
      case ":${LD_LIBRARY_PATH:-}:" in
        *":$_instascene_libs:"*) ;;
        *) LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$_instascene_libs" ;;
      esac
    done
    export LD_LIBRARY_PATH
    export ROS_LOG_DIR="${ROS_LOG_DIR:-$INSTASCENE_ROOT/log/ros}"
    export ROS_DISTRO="${ROS_DISTRO:-jazzy}" ROS_VERSION=2 ROS_PYTHON_VERSION=3
  fi
  if [ -f "$INSTASCENE_ROOT/.setup/colcon-defaults.yaml" ]; then
    export COLCON_DEFAULTS_FILE="$INSTASCENE_ROOT/.setup/colcon-defaults.yaml"
  fi
  if [ -f "$INSTASCENE_ROOT/install/setup.$_instascene_shell" ]; then
    . "$INSTASCENE_ROOT/install/setup.$_instascene_shell"
  fi
  # The command `instascene`, unless it has been installed into .venv.
  case ":$PATH:" in
    *":$INSTASCENE_ROOT/tools/bin:"*) ;;
    *) PATH="$PATH:$INSTASCENE_ROOT/tools/bin" ;;
  esac
  export PATH
  # One image is larger than Fast DDS' default shared-memory segment (see config/fastdds.xml).
  export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$INSTASCENE_ROOT/config/fastdds.xml}"
  export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$FASTRTPS_DEFAULT_PROFILES_FILE}"
  export MPLCONFIGDIR="${MPLCONFIGDIR:-$INSTASCENE_ROOT/.cache/matplotlib}"
  export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
  export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"
fi
unset _instascene_file _instascene_shell _instascene_libs
