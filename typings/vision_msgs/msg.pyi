# vision_msgs is optional and comes with ROS only; what is used of it is tested with stand-ins.
