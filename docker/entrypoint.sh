#!/usr/bin/env bash
# Arguments of the form NAME:=VALUE go to scene.launch.py; anything else is a command.
set -e
. "/opt/ros/$ROS_DISTRO/setup.bash"
. /opt/instascene/install/setup.bash
export PATH="/opt/instascene/venv/bin:$PATH"
if [ $# -eq 0 ] || [[ "$1" == *:=* ]]; then
  exec ros2 launch instascene scene.launch.py data_dir:=/data "$@"
fi
exec "$@"
