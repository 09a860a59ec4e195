from vision_msgs import msg as msg
