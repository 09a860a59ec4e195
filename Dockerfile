# instascene on ROS 2:   docker build -t instascene .          (--build-arg ROS_DISTRO=kilted for another)
#   docker run --rm --network host --ipc host -v $PWD/out:/data instascene rgb:=/camera/color/image_raw …
# The arguments are those of scene.launch.py.  PyTorch from PyPI brings CUDA, some gigabytes; give the index of its
# CPU builds as --build-arg PIP_EXTRA_INDEX_URL=… for an image a fraction of that size.
# The machines this was written on have no Docker: the workflow `docker` is the first to build it.
ARG ROS_DISTRO=jazzy

FROM ros:${ROS_DISTRO}-ros-base AS build
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} PIP_NO_CACHE_DIR=1 DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ python3-venv python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/instascene
COPY requirements requirements
# The versions that were tested exist for x86-64 and Python 3.11 and newer (tools/setup_environment.py).
RUN python3 -m venv --system-site-packages venv \
 && locked=$(python3 -c 'import platform, sys; print(platform.machine() == "x86_64" and sys.version_info >= (3, 11))') \
 && if [ "$locked" = True ]; then suffix=txt; else suffix=in; fi \
 && venv/bin/pip install -r requirements/core.$suffix
COPY CMakeLists.txt package.xml src/
COPY action src/action
COPY config src/config
COPY examples src/examples
COPY instascene_core src/instascene_core
COPY instascene_ros src/instascene_ros
COPY launch src/launch
COPY msg src/msg
COPY srv src/srv
COPY tools/nodes src/tools/nodes
RUN . /opt/ros/${ROS_DISTRO}/setup.sh \
 && colcon build --merge-install --base-paths src \
      --cmake-args -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DPython3_EXECUTABLE=$PWD/venv/bin/python \
 && rm -rf build log src requirements

FROM ros:${ROS_DISTRO}-ros-core
ARG ROS_DISTRO
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libegl1 libgl1 libgomp1 libx11-6 python3-transforms3d \
      ros-${ROS_DISTRO}-diagnostic-msgs ros-${ROS_DISTRO}-nav-msgs ros-${ROS_DISTRO}-rmw-fastrtps-cpp \
      ros-${ROS_DISTRO}-ros2bag ros-${ROS_DISTRO}-rosbag2-interfaces ros-${ROS_DISTRO}-rosbag2-storage-default-plugins \
      ros-${ROS_DISTRO}-shape-msgs ros-${ROS_DISTRO}-tf2-ros-py ros-${ROS_DISTRO}-visualization-msgs \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 2000 robot \
 && install -d -o robot -g robot /data
COPY --from=build /opt/instascene /opt/instascene
COPY --chmod=755 docker/entrypoint.sh /entrypoint.sh
USER robot
WORKDIR /data
VOLUME /data
ENTRYPOINT ["/entrypoint.sh"]
